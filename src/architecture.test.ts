import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

const root = resolve(import.meta.dir, "..");

/** Which folders of src a folder may import from; abi, spec and errors.ts are open to all. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  abi: [],
  spec: [],
  seccomp: ["plan"],
  plan: ["seccomp", "cgroup"],
  kernel: ["plan"],
  host: ["kernel"],
  agent: ["plan", "kernel"],
  state: ["host", "kernel"],
  cgroup: ["plan", "host", "kernel"],
  hooks: ["plan", "agent", "kernel"],
  terminal: ["plan", "agent", "kernel"],
  lsm: ["plan", "agent", "kernel"],
  checkpoint: ["plan", "agent", "kernel", "state", "cgroup"],
  container: [
    "plan",
    "seccomp",
    "cgroup",
    "state",
    "hooks",
    "terminal",
    "lsm",
    "checkpoint",
    "host",
    "agent",
    "kernel",
  ],
  cli: ["kernel"],
  commands: ["cli", "container", "plan", "seccomp", "cgroup", "state", "terminal", "host", "kernel"],
};

/** Folders whose functions neither read nor change the machine. */
const PURE = ["abi", "spec", "seccomp", "plan"];
/** What planning must know of the machine: a shape that every folder may know, the pure ones too. */
const SHAPES = ["host/facts.ts"];
/** The options as parsed: a shape that `container` knows, not the command line behind it. */
const OPTIONS = "cli/options.ts";
/** Pure files in folders that are not. */
const PURE_FILES =
  /^cgroup\/(device-[a-z]+|plan-device-rules|resources(-v[12])?|gvariant|systemd-(annotations|properties|unit)|unit-property|stats(-texts|-v[12])?)\.ts$/;
/** What takes milliseconds to load, or promises to use. */
const SLOW = /^(node:|zod|yargs|ajv)/;

/** Files of more than 500 lines, each with the reason. */
const LONG_FILES: Readonly<Record<string, string>> = {
  "src/cli/options.ts": "the one table that every option is in, a row each",
  "tests/mounts.test.ts": "one property, and the longest of config.json: one test per mount option",
};
const LINE_LIMIT = 500;

interface Import {
  readonly from: string;
  /** Relative to src, or the name of a package. */
  readonly to: string;
  readonly isType: boolean;
  readonly isLazy: boolean;
}

const sources = filesBelow("src").filter((file) => file.endsWith(".ts"));
const production = sources.filter((file) => !/\.test\.ts$|-under-test\.ts$|\/fixtures\//.test(file));
const imports = production.flatMap(importsOf);

function filesBelow(folder: string): string[] {
  const all = readdirSync(join(root, folder), { recursive: true }) as string[];
  return all.map((file) => join(folder, file)).filter((file) => statSync(join(root, file)).isFile());
}

/** Imports and re-exports; `import()` is one that is not followed until it runs. */
function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), "utf8");
  const statement = /^(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?["']([^"']+)["']/gm;
  const lazy = /\bimport\(\s*["']([^"']+)["']\s*\)/g;
  return [
    ...[...text.matchAll(statement)].map((m) => oneImport(file, m[2]!, m[1] !== undefined, false)),
    ...[...text.matchAll(lazy)].map((m) => oneImport(file, m[1]!, false, true)),
  ];
}

function oneImport(file: string, name: string, isType: boolean, isLazy: boolean): Import {
  const to = name.startsWith(".") ? join(dirname(file), name) : name;
  return { from: withoutSrc(file), to: withoutSrc(to), isType, isLazy };
}

function withoutSrc(path: string): string {
  return path.replace(/^src\//, "");
}

/** `plan` of `plan/step.ts`; undefined for packages and for files at the top. */
function folderOf(path: string): string | undefined {
  return path.includes("/") && path.split("/")[0]! in LAYERS ? path.split("/")[0] : undefined;
}

function show({ from, to }: Import): string {
  return `${from} imports ${to}`;
}

describe("imports", () => {
  test("are found", () => {
    expect(imports.length).toBeGreaterThan(100);
    expect(imports.some(({ from, to }) => from === "main.ts" && to === "cli/fast-path.ts")).toBeTrue();
    expect(imports.some(({ from, isLazy }) => from === "main.ts" && isLazy)).toBeTrue();
  });

  test("stay within the layers", () => {
    const wrong = imports.filter(({ from, to, isType }) => {
      const [folder, target] = [folderOf(from), folderOf(to)];
      if (isType && folder === "container" && to === OPTIONS) return false;
      if (folder === undefined || target === undefined || target === folder) return false;
      return !["abi", "spec", ...LAYERS[folder]!].includes(target) && !SHAPES.includes(to);
    });
    expect(wrong.map(show)).toEqual([]);
  });

  test("of every folder have a rule", () => {
    const folders = production.map((file) => withoutSrc(file).split("/")).filter((parts) => parts.length > 1);
    expect([...new Set(folders.map(([folder]) => folder!))].filter((folder) => !(folder in LAYERS))).toEqual([]);
  });

  test("of pure folders and files are pure", () => {
    const wrong = imports.filter(({ from, to, isType }) => {
      if (!PURE.includes(folderOf(from) ?? "") && !PURE_FILES.test(from)) return false;
      if (SLOW.test(to)) return to.startsWith("node:");
      const target = folderOf(to);
      if (target === undefined || PURE.includes(target) || PURE_FILES.test(to)) return false;
      return !(isType && SHAPES.includes(to));
    });
    expect(wrong.map(show)).toEqual([]);
  });

  // libsystemd's functions are no system calls, and the library is loaded only for those who ask for systemd.
  test("of bun:ffi are kernel.ts's and sd-bus.ts's only", () => {
    const users = imports.filter(({ to }) => to === "bun:ffi").map(({ from }) => from);
    expect(users.sort()).toEqual(["kernel/kernel.ts", "kernel/sd-bus.ts"]);
  });

  // What Bun knows of its process may be that of a build, see kernel/warm-start.ts. `process` may also be one of the config.
  test("of Bun's process are warm-start.ts's only", () => {
    const facts =
      /\b(process\.(argv|cwd\(|env|pid|ppid|std(in|out|err)|hrtime|on\(|exit)|= process;|Bun\.nanoseconds\()(?! \?\?)/;
    const isCode = (line: string) => !/^\s*(\*|\/\/|\/\*)/.test(line);
    const lines = (file: string) => readFileSync(join(root, file), "utf8").split("\n").filter(isCode);
    const users = production.filter(
      (file) => !PURE.includes(folderOf(file.slice(4)) ?? "") && lines(file).some((line) => facts.test(line)),
    );
    expect(users).toEqual(["src/kernel/warm-start.ts"]);
  });

  test("never reach main.ts or a test", () => {
    expect(imports.filter(({ to }) => /^main\.ts$|\.test\.ts$|-under-test\.ts$/.test(to)).map(show)).toEqual([]);
  });

  test("on the hot path load nothing slow", () => {
    expect(slowOnTheWayFrom("main.ts")).toEqual([]);
  });
});

/** Follows what is loaded before main.ts runs; names the way to each slow module. */
function slowOnTheWayFrom(start: string): string[] {
  const ways = new Map([[start, start]]);
  const slow: string[] = [];
  for (const [file, way] of ways) {
    for (const { to, isType, isLazy } of imports.filter((each) => each.from === file)) {
      if (isType || isLazy || ways.has(to)) continue;
      if (SLOW.test(to)) slow.push(`${way} → ${to}`);
      else ways.set(to, `${way} → ${to}`);
    }
  }
  return slow;
}

describe("files", () => {
  const ours = ["src", "tests", "scripts", "bench", "conformance-tests", "docs", ".ci"]
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap(filesBelow);
  const top = readdirSync(root).filter((file) => statSync(join(root, file)).isFile() && file !== ".git");
  const texts = [...ours, ...top]
    .filter((file) => /\.(ts|js|json|md|sh|toml|[1-8])$|Makefile$|\.ci\/run$|LICENSE$/.test(file))
    .filter((file) => !file.startsWith("bench/results/"))
    .map((file) => ({ file, text: readFileSync(join(root, file), "utf8") }));

  test(`have at most ${LINE_LIMIT} lines, or a reason`, () => {
    const written = texts.filter(({ file }) => file.endsWith(".ts") && !file.includes("/generated/"));
    const long = written.filter(({ text }) => text.split("\n").length > LINE_LIMIT + 1).map(({ file }) => file);
    expect(long.filter((file) => !(file in LONG_FILES))).toEqual([]);
  });

  test("that have a reason to be long are long", () => {
    for (const file of Object.keys(LONG_FILES)) {
      const found = texts.find((each) => each.file === file);
      if (found !== undefined) expect(found.text.split("\n").length).toBeGreaterThan(LINE_LIMIT);
    }
  });

  test("leave nothing to be done, and name no machine of ours", () => {
    // Put together here, so that this file does not contain them.
    const words = [`TO${"DO"}`, `FIX${"ME"}`, `XX${"X"}:`, `/wor${"k/"}`, `registry.npm${"js"}.org`];
    const wrong = texts.flatMap(({ file, text }) =>
      words.filter((word) => text.includes(word)).map((word) => `${file}: ${word}`),
    );
    expect(wrong).toEqual([]);
  });

  test("are named in kebab case", () => {
    const names = ours.filter((file) => file.endsWith(".ts")).map((file) => file.split("/").at(-1)!);
    expect(names.filter((name) => !/^[a-z0-9]+([.-][a-z0-9]+)*\.ts$/.test(name))).toEqual([]);
  });
});

interface LockedPackage {
  readonly resolved?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

describe("package-lock.json", () => {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, LockedPackage>;
  };

  test("names no registry", () => {
    expect(Object.values(packages).filter((each) => each.resolved !== undefined)).toEqual([]);
  });

  test("has the packages of every platform, or npm ci refuses it", () => {
    const wanted = Object.values(packages).flatMap((each) => Object.keys(each.optionalDependencies ?? {}));
    expect(wanted.filter((name) => !(`node_modules/${name}` in packages))).toEqual([]);
  });
});
