import { expect } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { deviceModel } from "../src/cgroup/device-rules.ts";
import { planDeviceRules } from "../src/cgroup/plan-device-rules.ts";
import { readDeviceCgroup, readDevicePrograms } from "../src/cgroup/read-device-cgroup.ts";
import { sys } from "../src/kernel/kernel.ts";
import { runProgram } from "../src/kernel/run-program.ts";
import { program, slotTable } from "../src/plan/step.ts";
import { command } from "./helpers/command.ts";
import { type Config, grant } from "./helpers/config.ts";
import { type Change, mustFail, mustSucceed, RUNTIME_NAME, type RunOptions, suite } from "./helpers/suite.ts";

const { test, see, refusal, bundle, started, run, exec, after, runtime, home } = suite("device-rules");

const onlyV2 = existsSync("/sys/fs/cgroup/cgroup.controllers");

/** crun gives itself unlimited locked memory before it loads a program, as kernels before 5.11 needed. */
const memoryLimit = /^Max locked memory +\S+ +(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
const skip =
  RUNTIME_NAME === "crun" && memoryLimit !== "unlimited"
    ? `crun may not raise its limit of locked memory, ${memoryLimit} bytes, and wants to`
    : undefined;

/** How the runtime sees the machine's cgroups. */
const VIEWS: readonly (readonly [title: string, options: RunOptions])[] = onlyV2
  ? [["v2", {}]]
  : [
      ["v1", {}],
      ["v2", { view: "v2" }],
    ];

/** Numbers for local use, without a driver: to open one that is allowed fails too, but not for lack of permission. */
const FREE = { major: 240, minor: 7 };

interface DeviceRule {
  readonly allow: boolean;
  readonly type?: string;
  readonly major?: number;
  readonly minor?: number;
  readonly access?: string;
}

/** Nodes of FREE, and of a neighbour, for the container's programs to try; and the capability to make some. */
function withNodes(config: Config): void {
  grant(config, "CAP_MKNOD");
  const { major, minor } = FREE;
  config.linux.devices = [
    { type: "c", path: "/dev/c", major, minor },
    { type: "b", path: "/dev/b", major, minor },
    { type: "c", path: "/dev/c2", major, minor: minor + 1 },
    { type: "c", path: "/dev/net/tun", major: 10, minor: 200 },
  ];
}

const rules =
  (...devices: DeviceRule[]): Change =>
  (config) => {
    withNodes(config);
    config.linux.resources = { devices };
  };

const DENY_ALL: DeviceRule = { allow: false, access: "rwm" };
const ALLOW_ALL: DeviceRule = { allow: true, access: "rwm" };
const allow = (type: string, major: number | undefined, minor: number | undefined, access: string): DeviceRule => ({
  allow: true,
  type,
  ...(major === undefined ? {} : { major }),
  ...(minor === undefined ? {} : { minor }),
  access,
});
const deny = (...rule: Parameters<typeof allow>): DeviceRule => ({ ...allow(...rule), allow: false });

/** Functions for a shell: what of r, w, rw and m is not refused for lack of permission. */
const SCRIPT = `
may() { if "$@" 2>&1 | grep -q 'not permitted'; then echo -n '-'; else echo -n "$op"; fi; }
read_() { : < $1; }
write_() { : > $1; }
both_() { : <> $1; }
use() { op=r; may read_ $1; op=w; may write_ $1; op=+; may both_ $1; }
make() { op=m; may mknod /made-$1-$2-$3-$$ $1 $2 $3; }
`;
/** The answer of `use` for a device: read, write, both at once. */
const OPEN = "rw+";
const SHUT = "---";

function uses(...paths: string[]): string {
  return `${SCRIPT} for path in ${paths.join(" ")}; do use $path; echo -n ' '; done;`;
}

/** With rules of its own. */
const ruled: typeof test = (title, action) => test(title, action, { skip });

for (const [title, options] of VIEWS) {
  test(`${title}: without rules, only what every container gets`, () => {
    const script = `${uses("/dev/c", "/dev/b", "/dev/net/tun", "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")} use /dev/ptmx; make c 240 7; make b 7 0`;
    const expected = [SHUT, SHUT, ...Array(6).fill(OPEN), `${OPEN}mm`].join(" ");
    expect(see(script, withNodes, options)).toBe(expected);
    expect(see(script, rules(), options)).toBe(expected);
    expect(see(script, rules(DENY_ALL), options)).toBe(expected);
  });

  test(`${title}: without linux.resources and without nodes of its own, a container can use its terminals`, () => {
    expect(see(`${SCRIPT} use /dev/ptmx; use /dev/tty`, undefined, options)).toBe(`${OPEN}${OPEN}`);
  });

  const { major, minor } = FREE;
  const allowed: readonly (readonly [name: string, rule: DeviceRule, c: string, b: string, c2: string])[] = [
    ["to read", allow("c", major, minor, "r"), "r--", SHUT, SHUT],
    ["to write", allow("c", major, minor, "w"), "-w-", SHUT, SHUT],
    ["to read and write, in another order", allow("c", major, minor, "wr"), OPEN, SHUT, SHUT],
    ["a block device", allow("b", major, minor, "rwm"), SHUT, OPEN, SHUT],
    ["any minor number", allow("c", major, undefined, "rw"), OPEN, SHUT, OPEN],
    ["any minor number by -1", allow("c", major, -1, "r"), "r--", SHUT, "r--"],
    ["any major number", allow("c", undefined, minor, "rwm"), OPEN, SHUT, SHUT],
    ["any number", allow("c", undefined, undefined, "r"), "r--", SHUT, "r--"],
  ];
  for (const [name, rule, ...expected] of allowed) {
    ruled(`${title}: allowed: ${name}`, () => {
      const change = rules(DENY_ALL, rule);
      expect(see(uses("/dev/c", "/dev/b", "/dev/c2"), change, options)).toBe(expected.join(" "));
    });
  }

  ruled(`${title}: allowed: without letters, everything`, () => {
    const rule = { allow: true, type: "c", major, minor };
    expect(see(uses("/dev/c"), rules(DENY_ALL, rule), options)).toBe(OPEN);
  });

  ruled(`${title}: everything allowed`, () => {
    expect(see(uses("/dev/c", "/dev/b", "/dev/null"), rules(ALLOW_ALL), options)).toBe(`${OPEN} ${OPEN} ${OPEN}`);
  });

  ruled(`${title}: what was allowed is taken back`, () => {
    const change = rules(DENY_ALL, allow("c", major, minor, "rwm"), deny("c", major, minor, "w"));
    expect(see(uses("/dev/c"), change, options)).toBe("r--");
  });

  ruled(`${title}: a rule for all devices forgets those before it`, () => {
    expect(see(uses("/dev/c"), rules(allow("c", major, minor, "rwm"), DENY_ALL), options)).toBe(SHUT);
    expect(see(uses("/dev/c"), rules(deny("c", major, minor, "rwm"), ALLOW_ALL), options)).toBe(OPEN);
  });

  ruled(`${title}: everything allowed but one device`, () => {
    const change = rules(ALLOW_ALL, deny("c", major, minor, "rwm"));
    expect(see(uses("/dev/c", "/dev/b", "/dev/c2"), change, options)).toBe(`${SHUT} ${OPEN} ${OPEN}`);
  });

  ruled(`${title}: everything allowed but to write to one device, alone or with reading`, () => {
    const change = rules(ALLOW_ALL, deny("c", major, minor, "w"));
    expect(see(uses("/dev/c"), change, options)).toBe("r--");
  });

  ruled(`${title}: a node of linux.devices is made although the container may not`, () => {
    const change = rules(ALLOW_ALL, deny("c", major, minor, "m"));
    expect(see(`${SCRIPT} use /dev/c; make c 240 7; make c 240 8`, change, options)).toBe(`${OPEN}-m`);
  });

  ruled(`${title}: /dev/null is there whatever the rules say`, () => {
    const change = rules(ALLOW_ALL, deny("c", 1, 3, "rwm"));
    expect(see(uses("/dev/null"), change, options)).toBe(OPEN);
  });

  ruled(`${title}: exec is under the same rules`, () => {
    const b = started(rules(DENY_ALL, allow("c", major, minor, "r")), options);
    expect(mustSucceed(exec(b, ["/bin/sh", "-c", uses("/dev/c", "/dev/b", "/dev/null")])).stdout).toBe(
      `r-- ${SHUT} ${OPEN} `,
    );
  });

  ruled(`${title}: hooks in the container are under them`, () => {
    const seen = `${home}/seen-by-hook`;
    const b = bundle((config, at) => {
      rules(DENY_ALL, allow("c", major, minor, "r"))(config, at);
      mustSucceed(command(["mknod", `${at.dir}/c`, "c", String(major), String(minor)]));
      const script = `${SCRIPT} use ${at.dir}/c > ${seen}`;
      config.hooks = { createContainer: [{ path: "/bin/busybox", args: ["sh", "-c", script], env: ["PATH=/bin"] }] };
    });
    mustSucceed(run(b, options));
    expect(readFileSync(seen, "utf8")).toBe("r--");
  });

  ruled(`${title}: sixty rules`, () => {
    const list = Array.from({ length: 60 }, (_, i) => allow(i % 3 === 0 ? "b" : "c", 241 + (i % 5), i, "rw"));
    const change = rules(DENY_ALL, ...list, allow("c", major, minor, "rw"));
    expect(see(uses("/dev/c", "/dev/c2", "/dev/null"), change, options)).toBe(`${OPEN} ${SHUT} ${OPEN}`);
  });

  ruled(`${title}: an unknown type is refused by name`, () => {
    expect(refusal(rules(allow("p", major, minor, "rwm")), options)).toMatch(/type \\?"p\\?"|type: found "p"/);
  });

  ruled(`${title}: unknown letters are refused by name`, () => {
    expect(refusal(rules(allow("c", major, minor, "rwx")), options)).toContain("linux.resources.devices[0].access");
  });

  ruled(`${title}: a part of a wider rule cannot be taken back, and the error has both`, () => {
    const stderr = refusal(rules(DENY_ALL, allow("c", major, -1, "rw"), deny("c", major, minor, "w")), options);
    expect(stderr).toMatch(/c 240:7 w.*c 240:\* rw|99 240 7.*99 240 -1/);
  });
}

for (const [title, options] of VIEWS) {
  const hasTools = Bun.which("losetup") !== null && Bun.which("mke2fs") !== null;
  const noLoop = hasTools && command(["losetup", "--find"]).status === 0 ? undefined : "there are no loop devices";

  test(
    `${title}: what is mounted may be on a device that the container must not open`,
    () => {
      const image = `${home}/${title}.ext2`;
      mustSucceed(command(["truncate", "--size", "1M", image]));
      mustSucceed(command(["mke2fs", "-q", image]));
      const device = mustSucceed(command(["losetup", "--find", "--show", image])).stdout.trim();
      after(() => void mustSucceed(command(["losetup", "--detach", device])));
      const numbers = mustSucceed(command(["stat", "-c", "%t %T", device]))
        .stdout.trim()
        .split(" ");
      const [major, minor] = numbers.map((digits) => Number.parseInt(digits, 16));
      const change: Change = (config, at) => {
        rules(DENY_ALL)(config, at);
        config.linux.devices = [{ type: "b", path: "/dev/loop", major: major!, minor: minor! }];
        config.mounts.push({ destination: "/mnt", type: "ext2", source: device, options: ["ro"] });
      };
      expect(see(`ls /mnt; ${uses("/dev/loop")}`, change, options)).toBe(`lost+found\n${SHUT}`);
    },
    { skip: skip ?? noLoop },
  );
}

test(
  "where tsrun may not restrict devices, one warning says so",
  () => {
    const b = bundle((config) => {
      config.linux.resources = { devices: [DENY_ALL] };
    });
    const { stderr } = mustSucceed(run(b, { through: ["unshare", "--user", "--map-root-user", "--mount"] }));
    expect(stderr.match(/^.*device.*$/gm)).toEqual([
      "warning: linux.resources.devices has no effect: tsrun may not restrict devices here, or there is no cgroup to do it in",
    ]);
  },
  { skip: RUNTIME_NAME === "tsrun" ? undefined : "runc and crun say nothing" },
);

// --- v1: cgroups above and below --------------------------------------------------------------------------------------

const V1 = "/sys/fs/cgroup/devices";
const skipV1 = onlyV2 || !existsSync(`${V1}/devices.list`) ? "there is no devices controller of v1" : undefined;

/** A cgroup that the container's is to be made in. */
function parentCgroup(b: { readonly id: string }, ...writes: [file: string, text: string][]): string {
  const path = `${V1}/${b.id}`;
  mkdirSync(path);
  after(() => {
    for (const each of [`${path}/inner`, path]) if (existsSync(each)) rmdirSync(each);
    for (const hierarchy of ["cpu", "cpuacct", "memory", "pids", "blkio", "cpuset", "freezer", "systemd", "unified"]) {
      if (existsSync(`/sys/fs/cgroup/${hierarchy}/${b.id}`)) rmdirSync(`/sys/fs/cgroup/${hierarchy}/${b.id}`);
    }
  });
  for (const [file, text] of writes) writeFileSync(`${path}/${file}`, text);
  return path;
}

const inside =
  (change: Change, ...writes: [file: string, text: string][]): Change =>
  (config, at) => {
    change(config, at);
    config.linux.cgroupsPath = `/${at.id}/inner`;
    parentCgroup(at, ...writes);
  };

test(
  "what the cgroup above denies cannot be allowed, and the rule is named",
  () => {
    const change = inside(rules(DENY_ALL, allow("c", FREE.major, FREE.minor, "rw")), [
      "devices.deny",
      `c ${FREE.major}:${FREE.minor} w`,
    ]);
    const stderr = refusal(change);
    expect(stderr).toContain("devices");
    expect(stderr).toMatch(/not permitted|denies/);
  },
  { skip: skipV1 },
);

test(
  "below a cgroup that allows only a list, a container gets what is in it",
  () => {
    const change = inside(
      rules(DENY_ALL, allow("c", FREE.major, FREE.minor, "r")),
      ["devices.deny", "a"],
      ...["c *:* m", "b *:* m", "c 1:* rwm", "c 5:* rwm", "c 136:* rwm", "c 10:200 rwm", "c 240:7 rw"].map(
        (text): [string, string] => ["devices.allow", text],
      ),
    );
    expect(see(uses("/dev/c", "/dev/c2", "/dev/null"), change)).toBe(`r-- ${SHUT} ${OPEN}`);
  },
  { skip: skipV1 },
);

test(
  "below a cgroup that denies /dev/net/tun, a container that did not ask for it runs without it",
  () => {
    const change = inside(rules(DENY_ALL), ["devices.deny", "c 10:200 rwm"]);
    expect(
      see(uses("/dev/null", "/dev/c"), (config, at) => {
        change(config, at);
        config.linux.devices = config.linux.devices!.filter(({ path }) => path !== "/dev/net/tun");
      }),
    ).toBe(`${OPEN} ${SHUT}`);
  },
  { skip: skipV1 },
);

test(
  "what the container's cgroup has been told, as runc tells it",
  () => {
    const b = started(rules(DENY_ALL, allow("c", FREE.major, FREE.minor, "wr")));
    const list = readFileSync(`${V1}/${b.id}/devices.list`, "utf8").trim().split("\n").sort();
    expect(list).toEqual([
      "b *:* m",
      "c *:* m",
      "c 10:200 rwm",
      "c 136:* rwm",
      "c 1:3 rwm",
      "c 1:5 rwm",
      "c 1:7 rwm",
      "c 1:8 rwm",
      "c 1:9 rwm",
      "c 240:7 rw",
      "c 5:0 rwm",
      "c 5:2 rwm",
    ]);
  },
  { skip: skipV1 },
);

// --- while a container runs -------------------------------------------------------------------------------------------

for (const [title, options] of VIEWS) {
  const { major, minor } = FREE;

  test(
    `${title}: update of something else leaves them as they are, those that a hook has added too`,
    () => {
      const b = started(rules(DENY_ALL, allow("c", major, minor, "r")), options);
      const seen = () => exec(b, ["/bin/sh", "-c", uses("/dev/c", "/dev/b", "/dev/c2")]).stdout.trim();
      const change = title === "v1" ? ["--pids-limit", "50"] : ["--resources", "-"];
      if (title === "v1") writeFileSync(`${V1}/${b.id}/devices.allow`, `c ${major}:${minor + 1} rw`);
      const expected = `r-- ${SHUT} ${title === "v1" ? OPEN : SHUT}`;
      expect(seen()).toBe(expected);
      mustSucceed(runtime(["update", ...change, b.id], { ...options, stdin: "{}" }));
      expect(seen()).toBe(expected);
    },
    { skip },
  );
}

test(
  "a list of allowed devices is not exchanged for one of denied ones while the container runs",
  () => {
    const b = started(rules(DENY_ALL));
    const denied = { devices: [ALLOW_ALL, deny("c", FREE.major, FREE.minor, "rw")] };
    const update = () =>
      runtime(["update", "--replace-devices", "--resources", "-", b.id], { stdin: JSON.stringify(denied) });
    const seen = () => exec(b, ["/bin/sh", "-c", uses("/dev/c", "/dev/c2")]).stdout.trim();
    mustFail(update(), "all devices would be open for a moment");
    expect(seen()).toBe(`${SHUT} ${SHUT}`);
    mustSucceed(runtime(["pause", b.id]));
    mustSucceed(update());
    mustSucceed(runtime(["resume", b.id]));
    expect(seen()).toBe(`${SHUT} ${OPEN}`);
    denied.devices = [ALLOW_ALL];
    mustSucceed(update());
    expect(seen()).toBe(`${OPEN} ${OPEN}`);
  },
  { skip: skipV1 ?? (RUNTIME_NAME === "tsrun" ? undefined : "runc's update changes no device rules") },
);

const skipOthers = RUNTIME_NAME === "tsrun" ? undefined : "tests functions of tsrun";

for (const [title, options] of VIEWS) {
  const { major, minor } = FREE;

  test(
    `${title}: rules are exchanged without a moment in which anything is open, or shut, that is not before and after`,
    () => {
      const b = started((config, at) => {
        rules(DENY_ALL, allow("c", major, minor + 1, "r"))(config, at);
        mustSucceed(command(["mkfifo", `${at.rootfs}/ask`, `${at.rootfs}/answer`]));
        const answer = uses("/dev/c", "/dev/null");
        config.process.args = ["/bin/sh", "-c", `while read x < /ask; do { ${answer} } > /answer; done`];
      }, options);
      const ask = () => mustSucceed(command(["sh", "-c", `echo > ${b.rootfs}/ask; cat ${b.rootfs}/answer`])).stdout;
      const lists: DeviceRule[][] = [
        [DENY_ALL, allow("c", major, minor + 1, "w"), allow("b", major, -1, "rw")],
        [DENY_ALL],
        [DENY_ALL, allow("b", undefined, minor, "rwm"), allow("c", major, minor + 2, "r")],
      ];
      const answers: string[] = [];
      for (const list of lists) {
        exchange(cgroupOf(b.id, title), list, () => answers.push(ask()));
        if (title === "v2") expect(readDevicePrograms(cgroupOf(b.id, title)).length).toBe(1);
      }
      expect(answers.length).toBeGreaterThan(12);
      expect(new Set(answers)).toEqual(new Set([`${SHUT} ${OPEN} `]));
    },
    { skip: skipOthers },
  );
}

/** As far as these tests see it. */
function cgroupOf(id: string, view: string): string {
  if (view === "v1") return `${V1}/${id}`;
  return onlyV2 ? `/sys/fs/cgroup/${id}` : `/sys/fs/cgroup/unified/${id}`;
}

/** What tsrun does to the cgroup of a container, with something to be done after each system call. */
function exchange(path: string, list: DeviceRule[], between: () => void): void {
  const cgroup = readDeviceCgroup({ [path.startsWith(V1) ? "devices" : ""]: path })!;
  const plan = program("exchange");
  planDeviceRules({ prepare: plan, restrict: plan, slots: slotTable() }, cgroup, deviceModel(list).model);
  runProgram(plan, sys, between);
}

for (const [title, options] of VIEWS.filter(([name]) => name === "v2")) {
  for (const [count, name] of [
    [1, "a program"],
    [3, "programs"],
  ] as const) {
    test(
      `${title}: ${name} of somebody else at the container's cgroup must go`,
      () => {
        const b = bundle((config, at) => {
          rules(DENY_ALL, allow("c", FREE.major, FREE.minor, "rw"))(config, at);
          config.process.args = ["/bin/sh", "-c", uses("/dev/c", "/dev/null")];
        });
        const path = cgroupOf(b.id, title);
        mkdirSync(path);
        after(() => {
          if (existsSync(path)) rmdirSync(path);
        });
        for (let i = 0; i < count; i++) attachBeside(path);
        expect(readDevicePrograms(path).length).toBe(count);
        expect(mustSucceed(run(b, options)).stdout).toBe(`${OPEN} ${OPEN} `);
      },
      { skip },
    );
  }
}

/** One more program, that denies all but the default devices. */
function attachBeside(path: string): void {
  const plan = program("beside");
  const programs = { prepare: plan, restrict: plan, slots: slotTable() };
  planDeviceRules(programs, { version: 2, path, programs: [] }, deviceModel([]).model);
  runProgram(plan, sys);
}
