import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { command, describeResult, type Result } from "../helpers/command.ts";
import { baseConfig, type Mount } from "../helpers/config.ts";
import { isExpected, type Outcome, type SeenMount } from "./mount-differences.ts";
import { must, property, type Target } from "./property.ts";
import { makeSandbox, mustEndWell } from "./sandbox.ts";

/** Whom engines expect tsrun to be like; where it is not, mount-differences.ts says why. */
const RUNC = "/usr/sbin/runc";

/** What a mount with these options becomes: here and with runc, as the container sees it. */
export function mountOptions(): Target {
  const sandbox = makeSandbox("mount");
  const { tsrun, home, mark } = sandbox;
  const bundle = sandbox.bundle("bundle");
  const id = `${mark}c`;
  mkdirSync(`${bundle}/volume/inner`, { recursive: true });
  writeFileSync(`${bundle}/file`, "");
  let refused = 0;

  const runc = (...args: readonly string[]) => command([RUNC, "--root", `${home}/runc`, ...args]);
  const check = (mount: Mount): void => {
    const config = baseConfig(id);
    config.process.args = ["/bin/cat", "/proc/self/mountinfo"];
    config.mounts.push(mount);
    sandbox.writeConfig(bundle, JSON.stringify(config));
    try {
      const ours = tsrun(["run", "--bundle", bundle, id]);
      const theirs = runc("run", "--bundle", bundle, id);
      mustEndWell(ours);
      compare(mount, ours, theirs);
      if (ours.status !== 0) refused++;
    } finally {
      sandbox.deleteAll();
      if (existsSync(`${home}/runc/${id}`)) runc("delete", "--force", id);
      sandbox.mustBeClean();
    }
  };
  const compare = (mount: Mount, ours: Result, theirs: Result): void => {
    const [mine, others] = [outcome(mount, ours), outcome(mount, theirs)];
    if (show(mine) === show(others) || isExpected(mount, mine, others)) return;
    throw new Error(`here  ${show(mine)}\n  runc  ${show(others)}\n  ${describeRefusals(ours, theirs)}`);
  };

  return {
    close: sandbox.close,
    properties: [
      property({
        name: "mount/options",
        says: "a mount is accepted or refused as by runc 1.1.5, and looks the same inside, but for what is listed",
        values: mounts(bundle),
        check,
        runs: 150,
        seconds: 12,
        show: (mount) => JSON.stringify(mount),
        skip: existsSync(RUNC) ? undefined : `${RUNC} is not installed`,
        finish: (cases) =>
          must(
            cases < 20 || refused < (cases * 4) / 5,
            () => `${refused} of ${cases} mounts were refused: the generator is no good`,
          ),
      }),
    ],
  };
}

const FLAGS = (
  "ro rw nosuid suid nodev dev noexec exec sync async dirsync mand nomand noatime atime nodiratime diratime relatime " +
  "norelatime strictatime nostrictatime iversion noiversion silent loud defaults lazytime nolazytime nosymfollow symfollow"
).split(" ");
const PROPAGATION = "private rprivate slave rslave shared rshared unbindable runbindable".split(" ");
/** Of bind mounts; runc 1.1.5 passes them over for all others. */
const RECURSIVE =
  "rro rrw rnosuid rsuid rnodev rdev rnoexec rexec rnoatime rnodiratime rdiratime rrelatime rstrictatime".split(" ");
const TMPFS_DATA =
  "size=64k size=1m size=50% size=x size= mode=755 mode=1777 mode=9 uid=1 gid=2 uid=-1 nr_inodes=9 nr_blocks=5 mpol=default huge=never".split(
    " ",
  );
const WRONG = ["nosuchoption", "nosuchoption=1", "", " ", "RO", "ro ", "=", "rro=1"];

function mounts(bundle: string): fc.Arbitrary<Mount> {
  const options = (data: readonly string[], more: readonly string[] = []) =>
    fc.array(
      fc.oneof(
        { weight: 8, arbitrary: fc.constantFrom(...FLAGS) },
        { weight: 2, arbitrary: fc.constantFrom(...PROPAGATION) },
        { weight: 1, arbitrary: fc.constantFrom(...WRONG) },
        ...(data.length === 0 ? [] : [{ weight: 4, arbitrary: fc.constantFrom(...data) }]),
        ...(more.length === 0 ? [] : [{ weight: 3, arbitrary: fc.constantFrom(...more) }]),
      ),
      { maxLength: 5 },
    );
  const made = (type: string, data: readonly string[], destination = "/mnt"): fc.Arbitrary<Mount> =>
    options(data).map((list) => ({
      destination,
      type,
      source: type,
      options: list,
    }));
  const bound = fc
    .tuple(
      fc.constantFrom("bind", "rbind"),
      options([], RECURSIVE),
      fc.constantFrom("bind", "none", "tmpfs", undefined),
      fc.constantFrom(
        [`${bundle}/volume`, "/mnt"],
        [`${bundle}/file`, "/etc/bound"],
        ["volume", "/mnt/new"],
        [`${bundle}/nothing`, "/mnt"],
      ),
      fc.nat(5),
    )
    .map(([kind, list, type, [source, destination], at]): Mount => {
      const all = [...list.slice(0, at), kind, ...list.slice(at)];
      return { destination: destination!, ...(type === undefined ? {} : { type }), source: source!, options: all };
    });
  return fc.oneof(
    { weight: 4, arbitrary: made("tmpfs", TMPFS_DATA) },
    { weight: 4, arbitrary: bound },
    { weight: 1, arbitrary: made("proc", ["hidepid=2", "hidepid=x", "subset=pid", "gid=1"]) },
    { weight: 1, arbitrary: made("sysfs", ["x=1"]) },
    { weight: 1, arbitrary: made("mqueue", ["x=1"]) },
    { weight: 1, arbitrary: made("cgroup", [], "/sys/fs/cgroup") },
  );
}

/** What became of the container: the mount as the container sees it, or that it was refused. */
function outcome({ destination }: Mount, { status, stdout, stderr }: Result): Outcome {
  if (status !== 0) return { mounts: undefined, stderr };
  const mounts = stdout
    .split("\n")
    .filter((line) => line !== "")
    .map(seen);
  const there = mounts.filter(({ point }) => point === destination || point.startsWith(`${destination}/`));
  return { mounts: there.sort((a, b) => (a.point < b.point ? -1 : 1)), stderr };
}

/** How wide inode numbers are is for whoever built the kernel to say. */
function seen(line: string): SeenMount {
  const [before = "", after = ""] = line.split(" - ");
  const [, , , root = "", point = "", options = "", ...fields] = before.split(" ");
  const [type = "", source = "", system = ""] = after.split(" ");
  const propagation = fields.map((field) => field.replace(/:\d+$/, "")).join(" ");
  return {
    root: root.replace(/^.*\/bundle\//, "bundle/"),
    point,
    options,
    propagation,
    type,
    source,
    system: system.replace(/,inode(32|64)/, ""),
  };
}

function show({ mounts }: Outcome): string {
  if (mounts === undefined) return "refused";
  return mounts.map((mount) => Object.values(mount).join(" ")).join("; ") || "not mounted";
}

function describeRefusals(...results: readonly Result[]): string {
  const failed = results.filter(({ status }) => status !== 0);
  return failed.map((result) => describeResult(result)).join("\n  ");
}
