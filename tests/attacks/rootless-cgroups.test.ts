import { existsSync } from "node:fs";
import { unshare } from "../helpers/config.ts";
import { asUser, GID, onlyItself, ownDirectory, UID } from "../helpers/ordinary-user.ts";
import { type Attempt, attacks, mustBe } from "./helpers/attack.ts";
import { CGROUP, delegatedCgroup, NO_V2, SYS, V2 } from "./helpers/cgroups.ts";

const { attack, weakened, bundle, run, mark, root, home, after } = attacks("rootless-cgroups");

ownDirectory(root);

let number = 0;

/** As the other programs of the user have. */
const ofTheUser = (): string => delegatedCgroup(`${mark}theirs${++number}`, UID, GID, after);

const writing =
  (hasNamespace: boolean, options: readonly string[]): Attempt =>
  ({ through = [] }) => {
    const theirs = ofTheUser();
    const b = bundle((config, { rootfs }) => {
      onlyItself(config, rootfs);
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== "network");
      if (hasNamespace) unshare(config, "cgroup");
      config.mounts = config.mounts.filter(({ destination }) => destination !== "/dev/pts");
      config.mounts.push(SYS, { ...CGROUP, options: [...options] });
      // With a namespace the paths inside are other ones: then it is its own cgroup that it may not write to.
      const inside = theirs.slice("/sys/fs/cgroup/".length).replace("unified/", "");
      config.process.args = [
        "/bin/sh",
        "-c",
        `for d in /sys/fs/cgroup/${inside} /sys/fs/cgroup/unified/${inside} /sys/fs/cgroup /sys/fs/cgroup/unified; do
          mkdir $d/made 2>/dev/null && echo "made $d/made"; done; echo tried`,
      ];
    });
    const { stdout, stderr } = run(b, { through: [...asUser(home), ...through] });
    if (!stdout.includes("tried")) throw new Error(`the container did not try: ${stdout}${stderr}`);
    return [
      ...stdout.split("\n").filter((line) => line.startsWith("made")),
      ...(existsSync(`${theirs}/made`) ? [`${theirs}/made is there`] : []),
    ];
  };

attack(
  ["CVE-2023-25809"],
  "of a user without root: nothing is made below /sys/fs/cgroup without a cgroup namespace, asked for read-only or not",
  () => {
    // The other cgroups of the user would have been the container's to change.
    mustBe([], writing(false, CGROUP.options)({}));
    mustBe([], writing(false, CGROUP.options.slice(0, -1))({}));
  },
  { skip: NO_V2 },
);

attack(
  ["CVE-2023-25809"],
  "of a user without root: nothing is made below /sys/fs/cgroup with a cgroup namespace when it is read-only",
  () => {
    // The same, of the container's own.
    mustBe([], writing(true, CGROUP.options)({}));
  },
  { skip: NO_V2 },
);

if (V2 !== undefined) {
  weakened(
    ["CVE-2023-25809"],
    "read-only cgroups for a user's container",
    [
      {
        file: "plan/cgroup-mounts.ts",
        from: "unprivileged && !hasCgroupNamespace(context) ? wanted | MOUNT_ATTR_RDONLY : wanted",
        to: "wanted",
      },
    ],
    writing(false, CGROUP.options.slice(0, -1)),
  );
}
