import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { annotatedProperties } from "../../src/cgroup/systemd-annotations.ts";

import { type Bundle, type Change, mustSucceed, RUNTIME_NAME } from "../helpers/suite.ts";
import { type Attempt, attacks, mustBe } from "./helpers/attack.ts";

const { attack, weakened, bundle, run, see, started, exec, state, kill } = attacks("names");

const isTsrun = RUNTIME_NAME === "tsrun";

/** Every property that JavaScript finds in any object. */
const INHERITED = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"];

/** A bundle whose config.json has `members` put in at the beginning of the object `at`: JSON.stringify would not write them. */
function withMembers(at: string, members: string, change?: Change): Bundle {
  const b = bundle((config, made) => {
    config.process.args = [
      "/bin/sh",
      "-c",
      "id -u; grep -E '^(NoNewPrivs|CapEff)' /proc/self/status; hostname; touch /x && echo writable",
    ];
    change?.(config, made);
  });
  const text = JSON.stringify(b.config);
  const opening = at === "" ? "{" : `"${at}":{`;
  writeFileSync(`${b.dir}/config.json`, text.replace(opening, `${opening}${members},`));
  return b;
}

/** What objects would have had from their prototype: only where the config itself does not say it. */
const PROTOTYPES: readonly (readonly [at: string, prototype: string])[] = [
  ["", '{"hooks":{"createRuntime":[{"path":"/bin/sh","args":["sh","-c","echo hooked >&2; exit 1"]}]}}'],
  ["", '{"domainname":"evil","annotations":{"a":"b"}}'],
  ["process", '{"noNewPrivileges":true,"oomScoreAdj":77,"rlimits":[{"type":"RLIMIT_FSIZE","hard":0,"soft":0}]}'],
  ["process", '{"consoleSize":1,"apparmorProfile":"evil","selinuxLabel":"evil"}'],
  ["user", '{"umask":511,"additionalGids":[5]}'],
  ["root", '{"readonly":true}'],
  ["linux", '{"seccomp":{"defaultAction":"SCMP_ACT_KILL"},"maskedPaths":["/bin"],"readonlyPaths":["/"]}'],
  ["linux", '{"resources":{"pids":{"limit":1}},"sysctl":{"kernel.core_pattern":"|/evil"}}'],
];

const prototypes: Attempt = (options) => {
  const plain = run(withMembers("", '"annotations":{}'), options);
  return PROTOTYPES.flatMap(([at, prototype]) => {
    const result = run(withMembers(at, `"__proto__":${prototype}`), options);
    const same = result.status === plain.status && result.stdout === plain.stdout && result.stderr === plain.stderr;
    return same ? [] : [`${at} ${prototype}: status ${result.status}: ${result.stdout}${result.stderr}`];
  });
};

attack(["names"], "an object named __proto__ says nothing of the object that it is in", () => {
  // Hooks, limits and privileges would have come from where no check looks.
  mustBe([], prototypes({}));
});

weakened(
  ["names"],
  "taking JSON as it is",
  [
    {
      file: "spec/load.ts",
      from: "    return JSON.parse(text, reviver);",
      to: "    return JSON.parse(text, (_, v) => (v !== null && typeof v === 'object' && Object.hasOwn(v, '__proto__') ? Object.setPrototypeOf(v, v.__proto__) : v));",
    },
  ],
  prototypes,
);

/** What is said twice: everybody who reads the file must read the same of the two. */
const twice: Attempt = (options) => {
  const b = withMembers("process", '"noNewPrivileges":true,"user":{"uid":1000,"gid":1000}');
  const text = readFileSync(`${b.dir}/config.json`, "utf8");
  writeFileSync(`${b.dir}/config.json`, text.replace(/\}$/, ',"root":{"path":"rootfs"},"hostname":"last"}'));
  // Of user, root and hostname the last counts: root, writable, "last".
  const { stdout } = run(b, options);
  const seen = [/^0$/m, /^last$/m, /^writable$/m, /^NoNewPrivs:\t1$/m].filter((line) => !line.test(stdout));
  return seen.length === 0 ? [] : [stdout];
};

attack(["names"], "of what config.json says twice the last counts, for checks and for what is done", () => {
  // Checks of an engine's, or of tsrun's own, would have looked at another value than the one that is used.
  mustBe([], twice({}));
});

attack(["names"], "annotations with names of JavaScript's own are kept as they are, and are nothing else", () => {
  // They would have been lost, or have been in every object of tsrun from then on.
  const members = INHERITED.map((name) => `"${name}":"x ${name}"`).join(",");
  const b = withMembers("annotations", members, (config) => {
    config.annotations = { last: "1" };
    config.process.args = ["/bin/sleep", "1000"];
  });
  mustSucceed(run(b, { flags: ["--detach"] }));
  const { annotations } = JSON.parse(mustSucceed(state(b)).stdout) as { annotations: Record<string, string> };
  mustBe(
    INHERITED.map((name) => `x ${name}`),
    INHERITED.map((name) => String(Object.getOwnPropertyDescriptor(annotations, name)?.value)),
  );
  mustSucceed(kill(b, "KILL"));
});

attack(["names"], "environment variables with such names are variables", () => {
  // They would have been lost, or have changed what tsrun thinks of all others.
  const env = INHERITED.map((name) => `${name}=x ${name}`);
  const seen = see("exec cat /proc/self/environ", (config) => config.process.env.push(...env));
  // A shell sorts them.
  mustBe(
    [...env].sort(),
    seen
      .split("\0")
      .filter((line) => env.includes(line))
      .sort(),
  );
  const b = started();
  const flags = env.flatMap((variable) => ["--env", variable]);
  const added = mustSucceed(exec(b, ["/bin/cat", "/proc/self/environ"], { flags })).stdout;
  mustBe(
    env,
    added.split("\0").filter((line) => env.includes(line)),
  );
});

/** Where config.json or an option names one of a list that tsrun knows. */
const LISTS: readonly (readonly [what: string, change: (name: string) => Change])[] = [
  ["rlimits", (name) => (config) => (config.process.rlimits = [{ type: name, soft: 1, hard: 1 }])],
  ["a scheduling policy", (name) => (config) => (config.process.scheduler = { policy: name })],
  [
    "a flag of the scheduler",
    (name) => (config) => (config.process.scheduler = { policy: "SCHED_OTHER", flags: [name] }),
  ],
  ["an I/O priority", (name) => (config) => (config.process.ioPriority = { class: name, priority: 1 })],
  ["a namespace", (name) => (config) => config.linux.namespaces.push({ type: name })],
  ["a sysctl", (name) => (config) => (config.linux.sysctl = Object.fromEntries([[name, "1"]]))],
  ["a propagation", (name) => (config) => (config.linux.rootfsPropagation = name)],
  ["a personality", (name) => (config) => (config.linux.personality = { domain: name })],
  ["a seccomp action", (name) => (config) => (config.linux.seccomp = { defaultAction: name })],
  [
    "a seccomp architecture",
    (name) => (config) => (config.linux.seccomp = { defaultAction: "SCMP_ACT_ALLOW", architectures: [name] }),
  ],
  ["a device", (name) => (config) => (config.linux.devices = [{ type: name, path: "/dev/x", major: 1, minor: 3 }])],
];

attack(
  ["names"],
  "a name of JavaScript's own is in none of the lists of what there is",
  () => {
    // A table that is an object has "constructor", which is no flag, no number and no limit.
    const b = bundle();
    const wrong = LISTS.flatMap(([what, change]) =>
      ["__proto__", "constructor"].flatMap((name) => {
        const config = structuredClone(b.config);
        change(name)(config, b);
        writeFileSync(`${b.dir}/config.json`, JSON.stringify(config));
        const { status, stderr } = run(b);
        const isClear = status === 1 && !/undefined|NaN|TypeError|\[object|native code|panic/.test(stderr);
        return isClear ? [] : [`${what} ${name}: status ${status}, ${stderr}`];
      }),
    );
    mustBe([], wrong);
  },
  { limit: 60_000, skip: isTsrun ? undefined : "these runtimes are not written in JavaScript" },
);

/** Where a sysctl that may be set leads to one that may not. */
const SYSCTLS: readonly (readonly [name: string, value: string])[] = [
  ["kernel.shm_rmid_forced", "1+kernel.core_pattern=|/evil"],
  ["kernel.shm_rmid_forced", "1\nkernel.core_pattern=|/evil"],
  ["kernel.core_pattern", "|/evil"],
  ["kernel/core_pattern", "|/evil"],
  ["net.core/../../kernel.core_pattern", "|/evil"],
  ["net/../kernel/core_pattern", "|/evil"],
  ["net...kernel.core_pattern", "|/evil"],
  ["net/core/../../kernel/core_pattern", "|/evil"],
  ["fs.mqueue/../../kernel/core_pattern", "|/evil"],
  ["user/../kernel.core_pattern", "|/evil"],
];

const sysctls: Attempt = (options) => {
  const before = readFileSync("/proc/sys/kernel/core_pattern", "utf8");
  const b = bundle();
  const found = SYSCTLS.flatMap(([name, value]) => {
    const config = { ...b.config, linux: { ...b.config.linux, sysctl: { [name]: value } } };
    writeFileSync(`${b.dir}/config.json`, JSON.stringify(config));
    const { status } = run(b, options);
    const after = readFileSync("/proc/sys/kernel/core_pattern", "utf8");
    if (after !== before) writeFileSync("/proc/sys/kernel/core_pattern", before);
    // The kernel reads no further than the end of a line.
    const isRefused = status !== 0 || value.includes("\n");
    return isRefused && after === before ? [] : [`${name}=${JSON.stringify(value)}: status ${status}, ${after}`];
  });
  return found;
};

attack(["CVE-2022-0811"], "a sysctl never reaches another one than its name says, and none of the host's", () => {
  // kernel.core_pattern names a program that the host's root runs when anything dumps core.
  mustBe([], sysctls({}));
});

weakened(
  ["CVE-2022-0811"],
  "knowing which sysctls are of a namespace",
  [
    {
      file: "spec/checks/sysctl.ts",
      from: " is not in a separate kernel namespace`;",
      to: "`.slice(0, 0) || undefined;",
    },
  ],
  (options) => {
    // Of a namespace that is the container's own after all: the machine's must stay as they are.
    const b = bundle((config) => (config.linux.sysctl = { "kernel.ns_last_pid": "77" }));
    return run(b, options).status === 0 ? ["kernel.ns_last_pid was set"] : [];
  },
);

/** What a pod may say of the unit that systemd makes of it, where an engine hands annotations on. */
const ANNOTATIONS: readonly (readonly [name: string, value: string])[] = [
  ["Slice", "'system.slice'"],
  ["PIDs", "[1]"],
  ["Exec Start", "'/evil'"],
  ["TasksMax\n[Service]\nExecStart", "uint64 5"],
  ["X", "1"],
  ["TasksMax", "uint64 5\nExecStart=/evil"],
  ["TasksMax", "uint64 5; uint64 6"],
  ["TasksMax", "uint64 18446744073709551616"],
  ["TasksMax", "uint32 -1"],
  ["Description", "'text' + 'more'"],
  ["Description", "'never ends"],
  ["__proto__", "1"],
];

const unitProperties: Attempt = ({ through }) => {
  const source = through === undefined ? `${import.meta.dir}/../../src` : `${dirname(through[0]!)}/src`;
  const { annotatedProperties: read } = require(`${source}/cgroup/systemd-annotations.ts`) as {
    annotatedProperties: typeof annotatedProperties;
  };
  return ANNOTATIONS.flatMap(([name, value]) => {
    try {
      const properties = read(Object.fromEntries([[`org.systemd.property.${name}`, value]]));
      return [`${JSON.stringify(name)} ${JSON.stringify(value)} is ${JSON.stringify(properties.map((p) => p.name))}`];
    } catch {
      return [];
    }
  });
};

attack(
  ["CVE-2024-3154"],
  "annotations for systemd are one property each, and none that the container depends on",
  () => {
    // A value with more in it than a value would have been a line of the unit's, or put the pod into another slice.
    mustBe([], unitProperties({}));
  },
);

weakened(
  ["CVE-2024-3154"],
  "keeping tsrun's own properties",
  [{ file: "cgroup/systemd-annotations.ts", from: '["PIDs", "Slice"]', to: '["none"]' }],
  unitProperties,
);

attack(["CVE-2024-3154"], "without systemd such annotations do nothing", () => {
  // An engine that hands everything on would have a container's author choose properties of units of the host.
  const b = bundle((config) => {
    config.annotations = {
      "org.systemd.property.ExecStartPost": "'/bin/touch /evil'",
      "org.systemd.property.Slice": "'x.slice'",
    };
    config.process.args = ["/bin/echo", "runs"];
  });
  mustBe(["runs\n"], [mustSucceed(run(b)).stdout]);
  mustBe(["false"], [String(existsSync("/evil"))]);
});
