/**
 * Compiles tsrun: `bun scripts/build.ts ARCH OUTFILE [--cold]`. The program appears under its name only when it is complete, so a
 * program that runs meanwhile is never half replaced.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type Arch, nativeArch } from "../src/abi/syscalls.ts";
import { addEntryStub } from "./program/entry-stub.ts";
import { addStart } from "./program/start.ts";

const root = resolve(import.meta.dir, "..");

/**
 * Without --no-compile-autoload-… the program would read .env and bunfig.toml from its caller's directory. Without
 * --splitting it would load the bytecode of everything at its start, what `import()` defers included: 9 ms instead of 5.
 */
const FLAGS = [
  "--compile",
  "--minify",
  "--bytecode",
  "--format=esm",
  "--splitting",
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
  "--no-compile-autoload-tsconfig",
  "--no-compile-autoload-package-json",
];

function build(arch: Arch, outfile: string, isCold: boolean): void {
  const start = (program: Uint8Array) => (isCold ? addEntryStub(program, arch) : addStart(program, arch, work));
  // Of its own: two builds may run at once.
  const work = `${root}/build/compile-${arch}-${process.pid}`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  mkdirSync(dirname(outfile), { recursive: true });
  compile(arch, work);
  writeFileSync(`${work}/tsrun.linked`, start(readFileSync(`${work}/tsrun`)));
  chmodSync(`${work}/tsrun.linked`, 0o755);
  renameSync(`${work}/tsrun.linked`, outfile);
  rmSync(work, { recursive: true });
}

/** Bun leaves its temporary files in the working directory. */
function compile(arch: Arch, work: string): void {
  const target = arch === nativeArch ? [] : foreignTarget(arch);
  const define = `--define=TSRUN_COMMIT=${JSON.stringify(commit())}`;
  const command = [process.execPath, "build", ...FLAGS, ...target, define, "--outfile=tsrun", `${root}/src/main.ts`];
  const { exitCode } = Bun.spawnSync(command, { cwd: work, stdio: ["ignore", "ignore", "inherit"] });
  if (exitCode !== 0) fail(`bun build ended with status ${exitCode}`);
}

/** Bun would download the other architecture's Bun; `make build` has put the pinned one here. */
function foreignTarget(arch: Arch): string[] {
  const [target, name] = arch === "aarch64" ? ["bun-linux-arm64", "aarch64"] : ["bun-linux-x64", "x64"];
  const bun = `${root}/build/bun-${arch}/node_modules/@oven/bun-linux-${name}/bin/bun`;
  if (!existsSync(bun)) fail(`no Bun for ${arch}: run scripts/setup.sh bun ${arch}`);
  return [`--target=${target}`, `--compile-executable-path=${bun}`];
}

/** The commit, with `-dirty` when files differ from it; `unknown` outside a git repository. */
function commit(): string {
  if (Bun.which("git") === null) return "unknown";
  const command = [
    "git",
    "-c",
    `safe.directory=${root}`,
    "describe",
    "--always",
    "--dirty",
    "--abbrev=40",
    "--exclude=*",
  ];
  const { exitCode, stdout } = Bun.spawnSync(command, { cwd: root, stderr: "ignore" });
  return exitCode === 0 ? stdout.toString().trim() : "unknown";
}

function fail(message: string): never {
  console.error(`build: ${message}`);
  process.exit(1);
}

const [arch, outfile, cold] = process.argv.slice(2);
if ((arch !== "x86-64" && arch !== "aarch64") || outfile === undefined)
  fail("usage: build.ts x86-64|aarch64 OUTFILE [--cold]");
build(arch, resolve(outfile), cold === "--cold");
