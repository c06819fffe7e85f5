import fc from "fast-check";
import { cgroupDirectories, levelsOf } from "../../src/cgroup/paths.ts";
import { parseSubCgroups } from "../../src/cgroup/sub-cgroups.ts";
import { escapeUnitName, scopeCgroup, scopeName } from "../../src/cgroup/systemd-unit.ts";
import { TsrunError } from "../../src/errors.ts";
import type { CgroupFacts } from "../../src/host/facts.ts";
import { cpuSet } from "../../src/plan/cpu-list.ts";
import { cleanPath } from "../../src/plan/paths.ts";
import { excerpt, must, property, type Target } from "./property.ts";

const FACTS: readonly CgroupFacts[] = [
  {
    mode: "hybrid",
    hierarchies: [
      { version: 1, controllers: ["pids"], mount: "/sys/fs/cgroup/pids", own: "/user.slice/a" },
      { version: 2, controllers: [], mount: "/sys/fs/cgroup/unified", own: "/" },
    ],
  },
  { mode: "unified", hierarchies: [{ version: 2, controllers: [], mount: "/sys/fs/cgroup", own: "/user.slice/a" }] },
];

/** Paths and names of which every part may be one that leads elsewhere. */
const parts = fc.constantFrom(
  "..",
  ".",
  "",
  "a",
  "b.slice",
  "a-b",
  "cpu",
  "cgroup.procs",
  "-",
  "_x",
  "é",
  "\\x2d",
  "@",
  " ",
  "%i",
);
const paths = fc.array(
  fc.oneof({ weight: 4, arbitrary: parts }, { weight: 1, arbitrary: fc.string({ maxLength: 6 }) }),
  { maxLength: 6 },
);

/** What is made of texts of config.json before they are parts of a path, or bits. */
export function names(): Target {
  return {
    properties: [
      property({
        name: "name/cgroup",
        says: "a container's cgroup lies below its hierarchy, whatever cgroupsPath says",
        values: fc.tuple(
          paths.map((list) => list.join("/")),
          fc.boolean(),
          fc.constantFrom(...FACTS),
        ),
        check: ([path, below, facts]) => tried(() => mustLieBelow(path, below, facts)),
        runs: 800,
        seconds: 1,
      }),
      property({
        name: "name/destination",
        says: "a cleaned path is absolute, and has no part that leads upwards",
        values: paths.map((list) => list.join("/")),
        check: (path) => {
          const clean = cleanPath(path);
          must(clean.startsWith("/") && isPlain(clean.slice(1)), () => `becomes ${excerpt(clean)}`);
          must(cleanPath(clean) === clean, () => `becomes ${excerpt(cleanPath(clean))} the second time`);
        },
        runs: 800,
        seconds: 1,
      }),
      property({
        name: "name/exec-cgroup",
        says: "exec --cgroup never leads out of the container's cgroup",
        values: fc.array(
          fc
            .tuple(fc.constantFrom("", "cpu:", "cpu,memory:", ":"), paths)
            .map(([first, list]) => first + list.join("/")),
          { minLength: 1, maxLength: 3 },
        ),
        check: (values) =>
          tried(() => {
            for (const path of parseSubCgroups(values).values()) must(isPlain(path), () => `becomes ${excerpt(path)}`);
          }),
        runs: 800,
        seconds: 1,
      }),
      property({
        name: "name/scope",
        says: "a scope has a name that systemd takes, and a cgroup below its slice",
        values: fc.tuple(
          fc.array(parts, { maxLength: 4 }).map((list) => list.join(":")),
          fc.string({ maxLength: 300 }),
          fc.boolean(),
        ),
        check: ([path, id, user]) => tried(() => mustBeScope(path, id, user)),
        runs: 800,
        seconds: 1,
      }),
      property({
        name: "name/cpus",
        says: "a list of processors is read as the bits that it names",
        values: fc
          .array(
            fc.oneof(
              fc.nat(300).map(String),
              fc.tuple(fc.nat(300), fc.nat(300)).map((range) => range.join("-")),
              fc.constantFrom("", "x", "-1", " 3 ", "1-2-3", "0x1"),
            ),
            { minLength: 1, maxLength: 4 },
          )
          .map((list) => list.join(",")),
        check: (list) => tried(() => mustHaveBits(list)),
        runs: 800,
        seconds: 1,
      }),
    ],
  };
}

/** What is refused is refused with a reason. */
function tried(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof TsrunError)) throw error;
  }
}

/** No part that is empty, or that leads elsewhere. */
function isPlain(path: string): boolean {
  return path === "" || !path.split("/").some((part) => part === "" || part === "." || part === "..");
}

function mustLieBelow(path: string, below: boolean, facts: CgroupFacts): void {
  for (const directory of cgroupDirectories(path, "id", facts, below)) {
    const { mount } = directory.hierarchy;
    const inner = directory.path.slice(mount.length + 1);
    must(
      directory.path.startsWith(`${mount}/`) && inner !== "" && isPlain(inner),
      () => `lies in ${excerpt(directory.path)}`,
    );
    must(levelsOf(directory).at(-1) === directory.path, () => `is made as ${excerpt(String(levelsOf(directory)))}`);
  }
}

/** systemd.unit(5): letters, digits and `:-_.\@`, at most 255 of them. */
function mustBeScope(path: string, id: string, user: boolean): void {
  const name = scopeName(path, id, user);
  must(/^[\w:\-.\\@]+\.scope$/.test(name.unit) && name.unit.length <= 255, () => `is named ${excerpt(name.unit)}`);
  must(/^(-|[^-]+(-[^-]+)*)\.slice$/.test(name.slice), () => `is in ${excerpt(name.slice)}`);
  const cgroup = scopeCgroup(name, "/user.slice");
  must(cgroup.startsWith("/user.slice/") && isPlain(cgroup.slice(1)), () => `lies in ${excerpt(cgroup)}`);
  const escaped = escapeUnitName(id);
  const back = Buffer.from(
    escaped.replace(/\\x([0-9a-f]{2})/g, (_, code) => `%${code}`),
    "latin1",
  ).toString();
  must(
    !escaped.includes("/") &&
      (id.includes("\\") || id.includes("%") || decodeURIComponent(back) === id || /[\ud800-\udfff]/.test(id)),
    () => `is escaped as ${excerpt(escaped)}`,
  );
}

function mustHaveBits(list: string): void {
  const mask = cpuSet(list);
  must(mask.length % 8 === 0, () => `${mask.length} bytes`);
  const wanted = new Set<number>();
  for (const range of list.split(",")) {
    const [first, last = first] = range.trim().split("-").map(Number);
    for (let cpu = first!; cpu <= last!; cpu++) wanted.add(cpu);
  }
  for (let cpu = 0; cpu < mask.length * 8; cpu++) {
    const isSet = (mask[cpu >> 3]! & (1 << (cpu & 7))) !== 0;
    must(isSet === wanted.has(cpu), () => `processor ${cpu} is ${isSet ? "" : "not "}set`);
  }
}
