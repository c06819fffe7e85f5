import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import {
  type CommandOptions,
  commandBeside,
  describeResult,
  PLAIN_ENV,
  type Result,
  type Running,
} from "../../tests/helpers/command.ts";
import { processesOf } from "../../tests/helpers/leaks.ts";
import { busyboxImage } from "../lib/image.ts";
import { leftBehind, removeParentCgroups } from "../lib/leftovers.ts";
import type { Runtime } from "../lib/runtimes.ts";
import { snippet } from "../lib/snippet.ts";
import { settled, until } from "../lib/wait.ts";

export const IMAGE = "localhost/busybox";
/** What pods are held together by; podman would build one of its own for that. */
export const PAUSE = "localhost/pause";

export interface PodmanOptions {
  /** Whose podman: root's, or an ordinary user's with subordinate ids, or without them. */
  readonly who: "root" | "user" | "user without subordinate ids";
  readonly storage?: "overlay" | "fuse-overlayfs" | "vfs";
  /** Nothing but cgroup v2 is to be seen, in which the engine has a cgroup of its own. */
  readonly delegated?: boolean;
}

export type Podman = Awaited<ReturnType<typeof startPodman>>;

/** Nobody's; each runtime has a user of its own, because podman shares locks among those of one user. */
const USERS = { runc: 54_331, tsrun: 54_341 } as const;
const FIRST = { runc: 800_000, tsrun: 900_000 } as const;
const COUNT = 65_536;

/**
 * podman with directories, a mount namespace and a network namespace of its own, and two images. The name of its
 * directory, `mark`, is in the environment or the path of all that it makes.
 */
export async function startPodman(runtime: Runtime, options: PodmanOptions) {
  const home = mkdtempSync(`/tmp/t${process.pid}-${runtime.name}-`);
  const mark = basename(home);
  chmodSync(home, 0o755);
  const uid = options.who === "root" ? 0 : USERS[runtime.name];
  for (const name of ["etc", "user", "run", "tmp"]) {
    mkdirSync(`${home}/${name}`, { mode: name === "etc" ? 0o755 : 0o700 });
    if (name !== "etc") chownSync(`${home}/${name}`, uid, uid);
  }
  const env = {
    PATH: PLAIN_ENV.PATH!,
    HOME: `${home}/user`,
    XDG_RUNTIME_DIR: `${home}/run`,
    TMPDIR: `${home}/tmp`,
    CONTAINERS_CONF: `${home}/etc/containers.conf`,
    CONTAINERS_STORAGE_CONF: `${home}/etc/storage.conf`,
    CONTAINERS_REGISTRIES_CONF: `${home}/etc/registries.conf`,
  };
  writeFiles(home, runtime, options);
  const holder = await hold(home, options, uid);

  /** A command line of whoever runs podman. */
  function asUser(argv: readonly string[]): string[] {
    const cgroup = options.delegated ? intoCgroup(mark) : [];
    return [...entering(holder.pid), ...cgroup, ...becoming(uid), ...argv];
  }
  function line(args: readonly string[]): string[] {
    return asUser(["podman", ...flags(home, options.who), ...args]);
  }
  function buildah(args: readonly string[]): Promise<Result> {
    return commandBeside(asUser(["buildah", ...args]), { cwd: home, env }).finish(60_000);
  }
  function podmanBeside(args: readonly string[], how: CommandOptions = {}): Running {
    return commandBeside(line(args), { cwd: home, ...how, env: { ...env, ...how.env } });
  }
  function podman(args: readonly string[], how: CommandOptions & { limit?: number } = {}): Promise<Result> {
    return podmanBeside(args, how).finish(how.limit ?? 60_000);
  }
  /** A program of root that sees the mounts and interfaces of the engine. */
  function here(argv: readonly string[]): Promise<Result> {
    return commandBeside([...entering(holder.pid), ...argv], { env }).finish();
  }

  let baseline: readonly string[] = [];
  /** But for the engine itself: without root a process holds its user namespace. */
  const present = () => [...ownLeftovers(mark, [holder.pid, pausePid(home)]), ...mountsOf(holder.pid, mark)];
  const leftovers = () => settled(() => present().filter((each) => !baseline.includes(each)));

  async function stop(): Promise<string[]> {
    const left = await leftovers();
    const pause = pausePid(home);
    if (pause !== 0) process.kill(pause, "SIGKILL");
    for (const pid of nameServers(mark)) process.kill(pid, "SIGKILL");
    holder.kill("SIGKILL");
    await holder.finish();
    left.push(...(await settled(() => ownLeftovers(mark, []))));
    removeParentCgroups(mark);
    rmSync(home, { recursive: true, force: true });
    return left;
  }

  try {
    for (const [name, argv] of [
      [IMAGE, ["sh", "-c", "echo the command of the image"]],
      [PAUSE, ["/bin/sleep", "100000"]],
    ] as const) {
      const archive = `${home}/tmp/${name.replace("/", "-")}.tar`;
      writeFileSync(archive, busyboxImage("/bin/busybox", `${name}:latest`, argv));
      const loaded = await podman(["load", "--quiet", "--input", archive]);
      if (loaded.status !== 0) throw new Error(describeResult(loaded));
      rmSync(archive);
    }
    const used = await podman(["info", "--format", "{{.Host.OCIRuntime.Path}}"]);
    if (used.stdout.trim() !== runtime.path) throw new Error(`not ${runtime.path}, but ${describeResult(used)}`);
  } catch (error) {
    throw new Error(`${error}\n${await stop()}`);
  }
  baseline = present();
  return { runtime, home, mark, env, uid, podman, podmanBeside, buildah, here, line, leftovers, stop };
}

function flags(home: string, who: PodmanOptions["who"]): string[] {
  if (who !== "root") return [];
  return ["--tmpdir", `${home}/libpod`];
}

/** Shims of containerd, which may run beside, are none of podman's, and the directory of its layers is mounted at times. */
function ownLeftovers(mark: string, own: readonly number[]): string[] {
  return leftBehind(mark, [...own, ...nameServers(mark)], []).filter(
    (each) => !each.startsWith("socket ") && !each.endsWith(`/${mark}/podman`),
  );
}

/** aardvark-dns, which ends by itself some time after the last container with a bridge, or not (podman 4.3). */
function nameServers(mark: string): number[] {
  return processesOf(mark).filter((pid) => {
    const file = `/proc/${pid}/comm`;
    return existsSync(file) && readFileSync(file, "utf8") === "aardvark-dns\n";
  });
}

const LAYERS = /\/storage\/overlay$/;

/** Of podman without root; 0 when there is none. */
function pausePid(home: string): number {
  const file = `${home}/run/libpod/tmp/pause.pid`;
  return existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
}

function mountsOf(pid: number, mark: string): string[] {
  const lines = readFileSync(`/proc/${pid}/mountinfo`, "utf8").split("\n");
  const points = lines.map((line) => line.split(" ")[4] ?? "");
  return points.filter((point) => point.includes(mark) && !LAYERS.test(point)).map((point) => `mount ${point}`);
}

/** In it, so that there is room for others beside, as where systemd delegates. */
function intoCgroup(mark: string): string[] {
  return ["sh", "-c", `echo $$ > /sys/fs/cgroup/${mark}/podman/cgroup.procs; exec "$@"`, "sh"];
}

function entering(pid: number): string[] {
  return ["nsenter", `--mount=/proc/${pid}/ns/mnt`, `--net=/proc/${pid}/ns/net`];
}

function becoming(uid: number): string[] {
  if (uid === 0) return [];
  return ["setpriv", "--reuid", `${uid}`, "--regid", `${uid}`, "--clear-groups", "--inh-caps=-all"];
}

/**
 * A process whose mount namespace has the user in /etc, devices that the user may open, and shared memory of its own
 * (podman's locks are there), and whose network namespace goes with everything that is made in it.
 */
async function hold(home: string, { who, delegated }: PodmanOptions, uid: number): Promise<Running> {
  const script = `set -e
    ip link set lo up
    mount --make-rprivate /
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    for name in passwd group subuid subgid; do
      [ -e /etc/$name ] || : >/etc/$name
      mount --bind ${home}/etc/$name /etc/$name
    done
    ${who === "root" ? "" : userDevices(home, uid)}
    ${delegated ? delegation(basename(home), uid) : ""}
    mount --make-rshared /
    : > ${home}/etc/ready
    exec sleep infinity`;
  const holder = commandBeside(["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", script]);
  await until(() => existsSync(`${home}/etc/ready`) || !existsSync(`/proc/${holder.pid}`));
  if (!existsSync(`${home}/etc/ready`)) throw new Error(describeResult(await holder.finish()));
  return holder;
}

function delegation(mark: string, uid: number): string {
  const cgroup = `/sys/fs/cgroup/${mark}`;
  return `
    umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup
    mkdir ${cgroup} ${cgroup}/podman && chown -R ${uid} ${cgroup}`;
}

function userDevices(home: string, uid: number): string {
  const dev = `${home}/etc`;
  return `
    mknod ${dev}/tun c 10 200; mknod ${dev}/fuse c 10 229; chown ${uid} ${dev}/tun ${dev}/fuse; chmod 666 ${dev}/tun ${dev}/fuse
    [ -e /dev/net/tun ] && mount --bind ${dev}/tun /dev/net/tun
    [ -e /dev/fuse ] && mount --bind ${dev}/fuse /dev/fuse`;
}

function writeFiles(home: string, runtime: Runtime, options: PodmanOptions): void {
  const uid = USERS[runtime.name];
  const read = (path: string) => readFileSync(path, "utf8").replace(/\n*$/, "\n");
  const range = `${FIRST[runtime.name]}:${COUNT}`;
  const grant = { user: `podman-user:${range}\n`, root: `containers:${range}\n`, "user without subordinate ids": "" }[
    options.who
  ];
  const files = {
    passwd: `${read("/etc/passwd")}podman-user:x:${uid}:${uid}::${home}/user:/bin/sh\n`,
    group: `${read("/etc/group")}podman-user:x:${uid}:\n`,
    subuid: grant,
    subgid: grant,
    "containers.conf": configuration(home, runtime, options),
    "storage.conf": storage(home, options),
    "registries.conf": 'unqualified-search-registries = []\nshort-name-mode = "permissive"\n',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(`${home}/etc/${name}`, text, { mode: 0o644 });
  for (const name of [".config", ".config/containers"]) {
    mkdirSync(`${home}/user/${name}`);
    chownSync(`${home}/user/${name}`, options.who === "root" ? 0 : uid, -1);
  }
  writeFileSync(`${home}/user/.config/containers/policy.json`, '{"default":[{"type":"insecureAcceptAnything"}]}');
}

/** What the documentation tells to write, with the runtime in the place of the installed one, and places of its own. */
function configuration(home: string, runtime: Runtime, { delegated }: PodmanOptions): string {
  const engine = ["[engine]", 'cgroup_manager = "cgroupfs"', 'events_logger = "file"', `infra_image = "${PAUSE}"`].join(
    "\n",
  );
  const text = snippet("/etc/containers/containers.conf").replaceAll("/usr/local/bin/tsrun", runtime.path);
  return `${text.replace("[engine]", engine)}
[network]
network_backend = "netavark"
network_config_dir = "${home}/user/net"
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=30000:30000"]
${delegated ? "pids_limit = 0 # The controllers may all be v1's, and then there is no limit to be had." : ""}
`;
}

function storage(home: string, { storage = "overlay", who }: PodmanOptions): string {
  const driver = storage === "vfs" || who === "user without subordinate ids" ? "vfs" : "overlay";
  const places = [`graphroot = "${home}/user/storage"`, `runroot = "${home}/run/storage"`];
  const lines = ["[storage]", `driver = "${driver}"`, ...places];
  if (who === "user without subordinate ids") lines.push("[storage.options]", 'ignore_chown_errors = "true"');
  if (storage === "fuse-overlayfs") {
    lines.push("[storage.options.overlay]", 'mount_program = "/usr/bin/fuse-overlayfs"');
  }
  return `${lines.join("\n")}\n`;
}
