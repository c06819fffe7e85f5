import { existsSync, readdirSync } from "node:fs";

/** Something that `make check` or `make test` runs: a command whose output goes to build/logs. */
export interface Suite {
  readonly name: string;
  readonly command: readonly string[];
  /** "tests": its output counts them. "status": it is one test, passed when the command succeeds. */
  readonly counts: "tests" | "status";
  readonly environment?: Readonly<Record<string, string>>;
  /** Runs what was built, when everything else has ended, and alone. */
  readonly program?: boolean;
  /** Runs it in a machine of its own: begins in its turn, and the suites after it do not wait. */
  readonly aside?: boolean;
  readonly root?: boolean;
}

/** In the order in which they begin: making the guest takes longest. */
export const groups = ["build", "check", "integration", "guest", "conformance"] as const;
export type Group = (typeof groups)[number];

const bun = process.execPath;

/** The suites of a group; paths are relative to the root of the repository. */
export function suitesOf(group: Group): Suite[] {
  switch (group) {
    case "check":
      return checks();
    case "build":
      return [guestImage(), build("x86-64"), build("aarch64"), builtPrograms()];
    case "integration":
      return [
        {
          name: "integration",
          command: ["tests/run.sh"],
          counts: "tests",
          environment: { LOOPS: "1000" },
          program: true,
          root: true,
        },
      ];
    case "guest":
      return [
        { name: "guest", command: ["tests/guest/run.sh"], counts: "tests", program: true, aside: true, root: true },
      ];
    case "conformance":
      return [...testsOfTheTests(), ...foreignSuites()];
  }
}

function build(arch: string): Suite {
  const command = ["make", "--no-print-directory", "build", `ARCH=${arch}`];
  return { name: `build ${arch}`, command, counts: "status" };
}

/** From Debian's packages, where it is not cached: some minutes in which the processors have other things to do. */
function guestImage(): Suite {
  return { name: "guest image", command: ["scripts/guest/image.sh"], counts: "status", root: true };
}

function builtPrograms(): Suite {
  return {
    name: "built programs",
    command: [bun, "test", "./scripts/built-programs.ts"],
    counts: "tests",
    program: true,
  };
}

function checks(): Suite[] {
  return [
    { name: "unit", command: [bun, "test", "--timeout", "60000", "./src", "./scripts"], counts: "tests" },
    { name: "types", command: ["node_modules/.bin/tsc", "-p", "."], counts: "status" },
    {
      name: "lint and format",
      command: ["node_modules/.bin/biome", "check", "--colors=off", "--error-on-warnings"],
      counts: "status",
    },
    { name: "schemas up to date", command: [bun, "scripts/generate-schemas.ts", "--check"], counts: "status" },
    {
      name: "man pages up to date",
      command: [bun, "scripts/generate-man.ts", "--check", "docs/man"],
      counts: "status",
    },
  ];
}

/** How a runtime bears being killed, and many containers: that costs minutes, and tells nothing of whether the tests are right. */
const ENDURANCE = ["killed-runtime", "load", "loops"];

/** tests/ must be true of the runtimes that tsrun replaces, but for what tests/expected lists. */
function testsOfTheTests(): Suite[] {
  const topics = readdirSync("tests")
    .filter((file) => file.endsWith(".test.ts") && !ENDURANCE.includes(file.replace(".test.ts", "")))
    .map((file) => `./tests/${file}`)
    .sort();
  return ["runc", "crun"].map((runtime) => ({
    name: `integration, ${runtime}`,
    command: ["tests/run.sh", ...topics],
    counts: "tests",
    environment: { RUNTIME: runtime },
    program: true,
    root: true,
  }));
}

/** conformance-tests/NAME: run.sh, or tests for bun. */
function foreignSuites(): Suite[] {
  const names = existsSync("conformance-tests") ? readdirSync("conformance-tests") : [];
  return names
    .map((name) => ({ name, directory: `./conformance-tests/${name}` }))
    .filter(({ directory }) => isSuite(directory))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, directory }) => ({
      name,
      command: existsSync(`${directory}/run.sh`)
        ? [`${directory}/run.sh`]
        : ["unshare", "-m", "--propagation", "private", bun, "test", "--timeout", "120000", directory],
      counts: "tests",
      program: true,
      root: true,
    }));
}

function isSuite(directory: string): boolean {
  if (existsSync(`${directory}/run.sh`)) return true;
  return readdirSync(directory).some((file) => file.endsWith(".test.ts"));
}
