import { existsSync, readdirSync, readFileSync } from "node:fs";
import { type Config, grant, unshare } from "../helpers/config.ts";
import { mustSucceed, type RunOptions } from "../helpers/suite.ts";
import { type Attempt, attacks, mustBe } from "./helpers/attack.ts";
import { CGROUP, delegatedCgroup, NO_V2, SYS, V2 } from "./helpers/cgroups.ts";

const { attack, weakened, bundle, started, run, exec, mark, after, state } = attacks("hostile-cgroups");

const MAPPED = 100_000;

const mapped = (config: Config): void => {
  unshare(config, "user");
  config.linux.uidMappings = [{ containerID: 0, hostID: MAPPED, size: 65536 }];
  config.linux.gidMappings = [{ containerID: 0, hostID: MAPPED, size: 65536 }];
};

let number = 0;

const delegated = (): string => delegatedCgroup(`${mark}theirs${++number}`, MAPPED, MAPPED, after);

/** A user namespace, the host's sysfs and a mount of cgroups, as spec --rootless writes them. */
const writing =
  (hasNamespace: boolean, options: readonly string[]): Attempt =>
  (how: RunOptions) => {
    const theirs = delegated();
    const b = bundle((config) => {
      mapped(config);
      if (hasNamespace) unshare(config, "cgroup");
      config.mounts.push(SYS, { ...CGROUP, options: [...options] });
      const inside = theirs.replace(/^\/sys\/fs\/cgroup\/(unified\/)?/, "");
      const script = `for d in $(find /sys/fs/cgroup -name '${inside}' -maxdepth 3 2>/dev/null) /sys/fs/cgroup /sys/fs/cgroup/unified; do
        mkdir $d/made 2>&1 | grep -v -e 'File exists' -e 'No such' ; [ -d $d/made ] && echo "made $d/made"; done; touch /sys/kernel/made 2>&1`;
      config.process.args = ["/bin/sh", "-c", script];
    });
    const { stdout } = run(b, how);
    if (stdout === "") throw new Error("the container did not try");
    return [
      ...stdout.split("\n").filter((line) => line.startsWith("made")),
      ...(readdirSync(theirs).includes("made") ? [`${theirs}/made is there`] : []),
    ];
  };

attack(
  ["CVE-2023-25809"],
  "a user namespace without a cgroup namespace: nothing is made below /sys/fs/cgroup, asked for read-only or not",
  () => {
    // Cgroups of the user that are none of the container's would have been its to write to.
    mustBe([], writing(false, CGROUP.options)({}));
    mustBe([], writing(false, CGROUP.options.slice(0, -1))({}));
  },
  { skip: NO_V2 },
);

attack(
  ["CVE-2023-25809"],
  "a user namespace with a cgroup namespace: read-only is read-only",
  () => {
    // The same, of the container's own cgroup.
    mustBe([], writing(true, CGROUP.options)({}));
  },
  { skip: NO_V2 },
);

if (V2 !== undefined) {
  weakened(
    ["CVE-2023-25809"],
    "read-only cgroups for who has no cgroup namespace",
    [
      {
        file: "plan/cgroup-mounts.ts",
        from: "unprivileged && !hasCgroupNamespace(context) ? wanted | MOUNT_ATTR_RDONLY : wanted",
        to: "unprivileged && !hasCgroupNamespace(context) ? 0 : wanted",
      },
    ],
    writing(false, CGROUP.options.slice(0, -1)),
  );
}

/** A sysfs of the container's own, and the host's. */
const sysfs: Attempt = (options) =>
  ["sysfs", "none"].flatMap((type) => {
    const b = bundle((config) => {
      mapped(config);
      grant(config, "CAP_DAC_OVERRIDE", "CAP_NET_ADMIN");
      config.mounts.push(
        type === "none" ? SYS : { ...SYS, type, source: type, options: ["nosuid", "noexec", "nodev", "ro"] },
      );
      const write = "echo x > /sys/class/net/lo/ifalias && echo written";
      config.process.args = ["/bin/sh", "-c", `grep ' /sys ' /proc/self/mountinfo; ${write}; true`];
    });
    const [mount = "", ...rest] = mustSucceed(run(b, options)).stdout.trim().split("\n");
    const isReadOnly = mount.split(" ")[5]?.split(",").includes("ro") === true;
    return [...(isReadOnly ? [] : [`${type}: ${mount}`]), ...rest];
  });

attack(["read-only /sys"], "a read-only /sys stays read-only in a user namespace", () => {
  // A container with a user namespace would have written to the kernel's settings of its network devices, and more.
  mustBe([], sysfs({}));
});

weakened(
  ["read-only /sys"],
  "attributes of new mounts",
  [
    {
      file: "plan/mount-steps.ts",
      from: "args: [context, FSMOUNT_CLOEXEC, system.attributes], into: mount",
      to: "args: [context, FSMOUNT_CLOEXEC, 0], into: mount",
    },
  ],
  sysfs,
);

/** The cgroups that a process is in, in every hierarchy. */
const cgroupsOf = (pid: number | string): string[] =>
  readFileSync(`/proc/${pid}/cgroup`, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(":").slice(2).join(":"));

const ESCAPES = () => [
  "..",
  "../..",
  "../../x",
  "a/../../x",
  "/..",
  "/../x",
  "./../",
  `../${mark}theirs${number + 1}`,
  ":..",
  "memory:../x",
];

const leadOut: Attempt = (options) => {
  const some = options.through === undefined ? ESCAPES() : ESCAPES().slice(0, 2);
  const other = V2 === undefined ? [] : [delegated()];
  const b = started();
  const own = cgroupsOf((JSON.parse(mustSucceed(state(b)).stdout) as { pid: number }).pid);
  const found = some.flatMap((path) => {
    const { status, stdout } = exec(b, ["/bin/cat", "/proc/self/cgroup"], { ...options, flags: [`--cgroup=${path}`] });
    const there = stdout
      .trim()
      .split("\n")
      .map((line) => line.split(":").slice(2).join(":"));
    const outside = there.filter((cgroup) => !own.some((mine) => cgroup === mine || cgroup.startsWith(`${mine}/`)));
    return status === 0 || outside.some((path) => path !== "")
      ? [`${path}: status ${status}, ${outside.join(" ")}`]
      : [];
  });
  for (const path of other) mustBe([""], [readFileSync(`${path}/cgroup.procs`, "utf8")]);
  return found;
};

attack(["exec --cgroup"], "exec --cgroup with .. is refused, and leads out of no container's cgroup", () => {
  // The process would have had the limits of another container, or none.
  mustBe([], leadOut({}));
});

weakened(
  ["exec --cgroup"],
  "looking at the path",
  [{ file: "cgroup/sub-cgroups.ts", from: "if (kept.pop() === undefined) {", to: "if (kept.push(part) < 0) {" }],
  leadOut,
);

attack(["delegate-cgroup"], "run.oci.delegate-cgroup with .. makes nothing outside, and moves nobody there", () => {
  // crun would have made the cgroup that it names, given it to the container, and moved the container into it.
  for (const path of ["..", `../${mark}escaped`, "../../../x"]) {
    const b = bundle((config, at) => {
      unshare(config, "cgroup");
      config.annotations = { "run.oci.delegate-cgroup": path };
      config.linux.cgroupsPath = `/${at.id}`;
      config.process.args = ["/bin/cat", "/proc/self/cgroup"];
    });
    const { stdout } = run(b);
    mustBe(
      [],
      stdout.split("\n").filter((line) => line.includes("..")),
    );
    mustBe([], escapedCgroups());
  }
});

/** In every hierarchy. */
function escapedCgroups(): string[] {
  const roots = ["/sys/fs/cgroup", ...readdirSync("/sys/fs/cgroup").map((name) => `/sys/fs/cgroup/${name}`)];
  return roots.map((path) => `${path}/${mark}escaped`).filter((path) => existsSync(path));
}
