/** What SECURITY.md says of other people's code: it is this, and it is pinned. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { resolve } from "node:path";

const root = resolve(import.meta.dir, "..");
const read = (file: string) => readFileSync(`${root}/${file}`, "utf8");

interface LockedPackage {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly hasInstallScript?: boolean;
}
const manifest = JSON.parse(read("package.json")) as Record<string, Record<string, string> | undefined>;
const lock = JSON.parse(read("package-lock.json")) as { packages: Record<string, LockedPackage> };
const locked = Object.entries(lock.packages).filter(([path]) => path !== "");

/** `name version` of every npm package that a bundle of src/main.ts takes modules from. */
function compiledIn(): string[] {
  const directory = mkdtempSync(`${tmpdir()}/tsrun-bundle-`);
  try {
    const metafile = `${directory}/meta.json`;
    const options = ["--target=bun", "--splitting", `--outdir=${directory}/out`, `--metafile=${metafile}`];
    const { exitCode, stderr } = Bun.spawnSync([process.execPath, "build", ...options, `${root}/src/main.ts`]);
    if (exitCode !== 0) throw new Error(`bun build: ${stderr.toString()}`);
    const { inputs } = JSON.parse(readFileSync(metafile, "utf8")) as { inputs: Record<string, unknown> };
    const folders = Object.keys(inputs).map((path) => /^(?:.*\/)?(node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]);
    const names = [...new Set(folders)].filter((folder) => folder !== undefined);
    return names.map((folder) => `${folder.slice("node_modules/".length)} ${lock.packages[folder]?.version}`).sort();
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe("supply chain", () => {
  test("SECURITY.md lists every package that is compiled in, with its version", () => {
    const rows = read("SECURITY.md").matchAll(/^\| `([^` ]+)` \| (\d+\.\d+\.\d+) \|/gm);
    expect([...rows].map(([, name, version]) => `${name} ${version}`).sort()).toEqual(compiledIn());
  });

  test("nothing is needed at run time: every package is for development or compiled in", () => {
    expect(manifest.dependencies).toBeUndefined();
    expect(manifest.peerDependencies).toBeUndefined();
    expect(Object.keys(manifest.optionalDependencies ?? {}).every((name) => name.startsWith("@oven/bun-"))).toBe(true);
  });

  test("versions are exact", () => {
    const wanted = { ...manifest.devDependencies, ...manifest.optionalDependencies };
    for (const [name, version] of Object.entries(wanted)) expect(`${name} ${version}`).toMatch(/ \d+\.\d+\.\d+$/);
  });

  test("every locked package has a hash of its content, but the formatter's for other platforms", () => {
    const hashed = locked.filter(([path]) => !/@biomejs\/cli-(?!linux-(?:x64|arm64)$)/.test(path));
    expect(hashed.length).toBeGreaterThan(30);
    for (const [path, { integrity }] of hashed) expect(`${path} ${integrity}`).toMatch(/ sha512-/);
  });

  test("no package runs a program when it is installed", () => {
    expect(locked.filter(([, { hasInstallScript }]) => hasInstallScript === true)).toEqual([]);
  });
});
