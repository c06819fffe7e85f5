import { existsSync, readdirSync, statSync } from "node:fs";

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
const groups = ["build", "check", "integration", "guest", "reference", "conformance"] as const;
type Group = (typeof groups)[number];

const bun = process.execPath;

/** The suites of groups (`conformance`), and single ones (`conformance/docker`), in the order of `groups`; or what is wrong with the names. */
export function chosenSuites(names: readonly string[]): Suite[] | string {
  const suites: Suite[] = [];
  for (const group of groups) {
    const wanted = names.filter((name) => name.split("/")[0] === group).map((name) => name.slice(group.length + 1));
    if (wanted.length > 0)
      suites.push(...suitesOf(group).filter(({ name }) => wanted.includes("") || wanted.includes(name)));
  }
  const unknown = names.find((name) => !isKnown(name));
  if (unknown === undefined && suites.length > 0) return suites;
  return `there is no ${unknown ?? "suite"}: groups are ${groups.join(", ")}; conformance/docker is one of a group`;
}

function isKnown(name: string): boolean {
  const group = groups.find((group) => name === group || name.startsWith(`${group}/`));
  if (group === undefined) return false;
  return name === group || suitesOf(group).some((suite) => `${group}/${suite.name}` === name);
}

/** The suites of a group; paths are relative to the root of the repository. */
function suitesOf(group: Group): Suite[] {
  switch (group) {
    case "check":
      return checks();
    case "build":
      return [guestImage(), ...goPrograms(), build("x86-64"), build("aarch64"), builtPrograms()];
    case "integration":
      return [
        {
          name: "integration",
          command: ["tests/run.sh"],
          counts: "tests",
          environment: { LOOPS: "1000", ATTACKS: "500" },
          program: true,
          root: true,
        },
        {
          name: "integration, cold start",
          command: ["tests/run.sh", ...STARTING.map((topic) => `./tests/${topic}.test.ts`)],
          counts: "tests",
          environment: { COLD: "1" },
          program: true,
          root: true,
        },
        // At most some number of cases each: a minute and a half. Of one seed, so that a change answers for itself only; `make
        // fuzz` takes others.
        {
          name: "fuzzing",
          command: ["tests/fuzz/run.sh"],
          counts: "tests",
          environment: { SEED: "20261121" },
          program: true,
          root: true,
        },
      ];
    case "guest":
      return [
        { name: "guest", command: ["tests/guest/run.sh"], counts: "tests", program: true, aside: true, root: true },
      ];
    case "reference":
      return testsOfTheTests();
    case "conformance":
      return foreignSuites();
  }
}

/** What depends on how tsrun starts: on the arguments, the environment, descriptors, signals, limits that it finds. */
const STARTING = [
  "descriptors",
  "env",
  "errors",
  "exec",
  "hooks",
  "inherit",
  "lifecycle",
  "rlimits",
  "terminal",
  "try",
];

function build(arch: string): Suite {
  const command = ["make", "--no-print-directory", "build", `ARCH=${arch}`];
  return { name: `build ${arch}`, command, counts: "status" };
}

/** From Debian's packages, where it is not cached: some minutes in which the processors have other things to do. */
function guestImage(): Suite {
  return { name: "guest image", command: ["scripts/guest/image.sh"], counts: "status", root: true };
}

/** Programs of others that conformance tests need: compiled where they are not cached. */
function goPrograms(): Suite[] {
  const directories = foreignNames().map((name) => `conformance-tests/${name}`);
  return directories
    .filter((directory) => existsSync(`${directory}/build.sh`))
    .map((directory) => ({
      name: `programs of ${directory.replace(/.*\//, "")}`,
      command: ["scripts/go-programs.sh", directory],
      counts: "status",
      root: true,
    }));
}

function builtPrograms(): Suite {
  return {
    name: "built programs",
    command: [bun, "test", "--timeout", "120000", "./scripts/built-programs.ts"],
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
  const attacks = readdirSync("tests/attacks")
    .filter((file) => file.endsWith(".test.ts"))
    .map((file) => `./tests/attacks/${file}`)
    .sort();
  return ["runc", "crun"].map((runtime) => ({
    name: `integration, ${runtime}`,
    command: ["tests/run.sh", ...topics, ...attacks],
    counts: "tests",
    environment: { RUNTIME: runtime },
    program: true,
    root: true,
  }));
}

/** conformance-tests/NAME: run.sh, or tests for bun. */
function foreignSuites(): Suite[] {
  return foreignNames()
    .map((name) => ({ name, directory: `./conformance-tests/${name}` }))
    .filter(({ directory }) => isSuite(directory))
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

function foreignNames(): string[] {
  return existsSync("conformance-tests") ? readdirSync("conformance-tests").sort() : [];
}

function isSuite(directory: string): boolean {
  if (!statSync(directory).isDirectory()) return false;
  if (existsSync(`${directory}/run.sh`)) return true;
  return readdirSync(directory).some((file) => file.endsWith(".test.ts"));
}
