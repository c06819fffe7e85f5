/** A user who is not root, with subordinate ids and without; what is missing is said, with the command that brings it. */
import { expect } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { command, type Result } from "./helpers/command.ts";
import { type Config, unshare } from "./helpers/config.ts";
import { MANAGER } from "./helpers/manager.ts";
import {
  asUser,
  COUNT,
  FIRST,
  GID,
  give,
  mapTo,
  NAME,
  NONE,
  onlyItself,
  ownDirectory,
  UID,
  type UserOptions,
  withSubordinates,
} from "./helpers/ordinary-user.ts";
import {
  type Bundle,
  type Change,
  mustFail,
  mustSucceed,
  RUNTIME,
  RUNTIME_NAME,
  type RunOptions,
  suite,
} from "./helpers/suite.ts";

const { test, home, root, bundle, create, start, run, exec, state, runtime, remove, status, untilStatus, after } =
  suite("rootless");

ownDirectory(root);

const ours = RUNTIME_NAME !== "tsrun" && "the texts are tsrun's";
const bySystemd = MANAGER === "systemd" && "a user without a session has no systemd";

const as = (options: UserOptions = {}): RunOptions => ({ through: asUser(home, options) });

type Mapping = (config: Config, rootfs: string) => void;

const script =
  (text: string, map: Mapping, change: (config: Config, rootfs: string) => void = () => {}): Change =>
  (config, { rootfs }) => {
    config.process.args = ["/bin/sh", "-c", text];
    map(config, rootfs);
    change(config, rootfs);
  };

/** What a script prints in a container of the user. */
function see(text: string, map: Mapping, change?: (config: Config, rootfs: string) => void, who: UserOptions = {}) {
  return mustSucceed(run(bundle(script(text, map, change)), as(who))).stdout.trim();
}

function waiting(map: Mapping, change: (config: Config) => void = () => {}): Bundle {
  const b = bundle((config, { rootfs }) => {
    map(config, rootfs);
    config.process.args = ["/bin/sleep", "1000"];
    change(config);
  });
  mustSucceed(create(b, as()));
  mustSucceed(start(b, as()));
  return b;
}

const fields = (text: string): string[][] => text.split("\n").map((line) => line.trim().split(/\s+/));

test("subordinate ids: the maps are those of the config", () => {
  const own = (id: number) => ["0", `${id}`, "1"];
  const rest = ["1", `${FIRST}`, `${COUNT}`];
  expect(fields(see("cat /proc/self/uid_map /proc/self/gid_map", withSubordinates))).toEqual([
    own(UID),
    rest,
    own(GID),
    rest,
  ]);
});

test("subordinate ids: root of the container is the user, others are subordinate ids", () => {
  const text = "touch /tmp/root; id -u; cat /proc/self/setgroups; chown 1000:50 /tmp/root && mkdir /tmp/more";
  const b = bundle(script(text, withSubordinates, (config) => grantChown(config)));
  expect(mustSucceed(run(b, as())).stdout).toBe("0\nallow\n");
  const owner = (path: string) => [statSync(path).uid, statSync(path).gid];
  expect(owner(`${b.rootfs}/tmp/root`)).toEqual([FIRST + 999, FIRST + 49]);
  expect(owner(`${b.rootfs}/tmp/more`)).toEqual([UID, GID]);
});

function grantChown(config: Config): void {
  for (const set of ["bounding", "effective", "permitted"] as const) config.process.capabilities![set] = ["CAP_CHOWN"];
}

const asOther =
  (...additionalGids: number[]) =>
  (config: Config): void => {
    config.process.user = { uid: 1000, gid: 1001, additionalGids };
    config.process.capabilities = {};
  };

test("subordinate ids: another user of the container", () => {
  const text = "id -u; id -g; touch /tmp/x; stat -c %u /tmp/x";
  expect(see(text, withSubordinates, asOther())).toBe("1000\n1001\n1000");
});

test("subordinate ids: additional groups", () => {
  const groups = see("grep ^Groups /proc/self/status", withSubordinates, asOther(5, 1234));
  expect(groups).toMatch(/^Groups:\t(1001 )?5 1234$/);
});

test("subordinate ids alone: root of the container is one of them", () => {
  const map: Mapping = (config, rootfs) => {
    const ids = () => [{ containerID: 0, hostID: FIRST, size: COUNT }];
    mapTo(config, ids(), ids());
    give(rootfs, FIRST, FIRST);
  };
  expect(fields(see("cat /proc/self/uid_map; id -u; touch /x && stat -c %u /x", map))).toEqual([
    ["0", `${FIRST}`, `${COUNT}`],
    ["0"],
    ["0"],
  ]);
});

test("subordinate user ids and the user's own group: each map is made in its own way", () => {
  const map: Mapping = (config, rootfs) => {
    withSubordinates(config, rootfs);
    config.linux.gidMappings = [{ containerID: 0, hostID: GID, size: 1 }];
  };
  expect(see("cat /proc/self/setgroups; wc -l < /proc/self/uid_map", map).split("\n")).toEqual(["deny", "2"]);
});

test("without subordinate ids: the user's own are mapped, and groups are given up for ever", () => {
  const seen = see("cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; id -u", onlyItself, undefined, {
    grants: NONE,
  });
  expect(fields(seen)).toEqual([["0", `${UID}`, "1"], ["0", `${GID}`, "1"], ["deny"], ["0"]]);
});

test("without subordinate ids: neither newuidmap nor newgidmap is needed", () => {
  const hidden = { grants: NONE, before: hide("newuidmap newgidmap") };
  expect(see("id -u", onlyItself, undefined, hidden)).toBe("0");
});

/** Root takes programs away from this command's view of the machine. */
function hide(names: string): string {
  const at = `${home}/hidden`;
  return `mkdir -p ${at}; mount -t tmpfs none ${at}; mkdir ${at}/upper ${at}/work
    mount -t overlay none -o lowerdir=/usr/bin,upperdir=${at}/upper,workdir=${at}/work /usr/bin
    (cd /usr/bin && rm ${names})`;
}

test(
  "additional groups without group ids to give them: refused before anything is made, with the property",
  () => {
    const b = bundle(script("id", onlyItself, (config) => (config.process.user.additionalGids = [0, 0])));
    mustSucceed(run(b, as({ grants: NONE })));
    const map: Mapping = (config, rootfs) => {
      withSubordinates(config, rootfs);
      // Its only group, and not the one that is asked for.
      config.linux.gidMappings = [{ containerID: 7, hostID: GID, size: 1 }];
      config.process.user = { uid: 0, gid: 0, additionalGids: [7] };
    };
    const result = run(bundle(script("id", map)), as());
    mustFail(result, /process\.user\.gid|additional/);
  },
  { skip: RUNTIME_NAME !== "tsrun" && "runc refuses any additional group of a user without root" },
);

test("exec: another user", () => {
  const b = waiting(withSubordinates);
  const text = "id -u; wc -l < /proc/self/uid_map";
  const flags = ["--user", "1000:1000"];
  expect(mustSucceed(exec(b, ["/bin/sh", "-c", text], { ...as(), flags })).stdout).toBe("1000\n2\n");
});

/** Standard output of `exec --process`. */
function execProcess(b: Bundle, change: object): string {
  const process = { ...b.config.process, ...change };
  writeFileSync(`${b.dir}/process.json`, JSON.stringify(process));
  return mustSucceed(runtime(["exec", "--process", `${b.dir}/process.json`, b.id], as())).stdout;
}

test("exec: additional groups", () => {
  const user = { uid: 1000, gid: 1000, additionalGids: [50] };
  const groups = execProcess(waiting(withSubordinates), { user, args: ["/bin/grep", "^Groups", "/proc/self/status"] });
  expect(groups).toMatch(/^Groups:\t(1000 )?50 \n$/);
});

test("exec: the score of the OOM killer", () => {
  const score = { oomScoreAdj: 321, args: ["/bin/cat", "/proc/self/oom_score_adj"] };
  expect(execProcess(waiting(withSubordinates), score)).toBe("321\n");
});

test(
  "exec into a container that has not been started: what to do",
  () => {
    const b = bundle(script("true", withSubordinates));
    mustSucceed(create(b, as()));
    mustFail(exec(b, ["/bin/true"], as()), `without root it has to be started before\nhint: tsrun start ${b.id}`, 255);
  },
  { skip: ours },
);

test("exec into a container of the user alone", () => {
  const b = waiting(onlyItself);
  expect(mustSucceed(exec(b, ["/bin/cat", "/proc/self/setgroups"], as())).stdout).toBe("deny\n");
});

test("oomScoreAdj that is higher than the user's, and rlimits that are lower", () => {
  const change = (config: Config) => {
    config.process.oomScoreAdj = 432;
    config.process.rlimits = [{ type: "RLIMIT_NPROC", soft: 300, hard: 400 }];
  };
  expect(see("cat /proc/self/oom_score_adj; ulimit -u", onlyItself, change).split("\n")).toEqual(["432", "300"]);
});

test("the life of a container, all of it by the user", () => {
  const b = waiting(withSubordinates);
  expect(status(b)).toBe("running");
  expect(JSON.parse(mustSucceed(runtime(["list", "--format", "json"], as())).stdout)).toMatchObject([
    { id: b.id, status: "running" },
  ]);
  const found = JSON.parse(mustSucceed(state(b, as())).stdout) as { pid: number };
  expect(statSync(`/proc/${found.pid}`).uid).toBe(UID);
  mustSucceed(runtime(["kill", b.id, "KILL"], as()));
  untilStatus(b, "stopped");
  mustSucceed(remove(b, as()));
  expect(readdirSync(root)).toEqual([]);
});

test("delete --force, while processes of several ids run on", () => {
  const change = (config: Config) => {
    for (const set of ["bounding", "effective", "permitted"] as const) {
      config.process.capabilities![set] = ["CAP_SETUID", "CAP_SETGID"];
    }
  };
  const b = bundle(
    script("trap '' TERM; for i in 1 2 3; do sleep 1000 & done; su someone -c 'sleep 1000'", withSubordinates, change),
  );
  mustSucceed(create(b, as()));
  mustSucceed(start(b, as()));
  mustSucceed(remove(b, { ...as(), flags: ["--force"] }));
  expect(status(b)).toBeUndefined();
});

test("without --root the state is in XDG_RUNTIME_DIR", () => {
  const own = ownDirectory(`${home}/xdg`);
  const b = bundle(script("true", onlyItself));
  const who = asUser(home, { env: { XDG_RUNTIME_DIR: own } });
  const call = (...args: string[]): Result => command([...who, RUNTIME, ...args]);
  after(() => call("delete", "--force", b.id));
  mustSucceed(call("create", "--bundle", b.dir, b.id));
  expect(readdirSync(`${own}/${RUNTIME_NAME}`)).toEqual([b.id]);
  expect(statSync(`${own}/${RUNTIME_NAME}`).uid).toBe(UID);
  expect(mustSucceed(call("list", "--quiet")).stdout).toBe(`${b.id}\n`);
  mustSucceed(call("start", b.id));
  mustSucceed(call("delete", "--force", b.id));
  expect(existsSync(`${own}/${RUNTIME_NAME}/${b.id}`)).toBeFalse();
});

test(
  "without XDG_RUNTIME_DIR and --root: what to set",
  () => {
    const who = asUser(home, { before: `mount -t tmpfs -o mode=755 none /run` });
    const b = bundle(script("true", onlyItself));
    const result = command([...who, "env", "-u", "XDG_RUNTIME_DIR", RUNTIME, "run", "--bundle", b.dir, b.id]);
    mustFail(result, /cannot make the state directory "\/run\/tsrun": permission denied[\s\S]*set XDG_RUNTIME_DIR/);
  },
  { skip: ours },
);

test("spec --rootless: what it writes runs, without subordinate ids", () => {
  const b = bundle((_, { rootfs }) => give(rootfs, UID, GID));
  const dir = ownDirectory(`${b.dir}/own`);
  mustSucceed(command([...asUser(home), RUNTIME, "spec", "--rootless"], { cwd: dir }));
  const config = JSON.parse(readFileSync(`${dir}/config.json`, "utf8"));
  config.process = { ...config.process, terminal: false, args: ["/bin/sh", "-c", "id -u; ls /proc/self/fd; ls /sys"] };
  config.root.path = b.rootfs;
  // runc 1.1.5 mounts no cgroups where there are both versions and it may make none.
  config.mounts = config.mounts.filter(({ type }: { type: string }) => type !== "cgroup");
  writeFileSync(`${b.dir}/config.json`, JSON.stringify(config));
  expect(mustSucceed(run(b, as({ grants: NONE }))).stdout).toStartWith("0\n0\n1\n2\n");
});

test(
  "no cgroup is the user's: the container runs without one, with a warning; limits that are asked for are refused",
  () => {
    const result = mustSucceed(run(bundle(script("echo here", onlyItself)), as()));
    expect(result.stdout).toBe("here\n");
    expect(result.stderr).toMatch(/^warning: no permission to make cgroups in /m);
    const limited = (config: Config) => (config.linux.resources = { pids: { limit: 5 } });
    mustFail(
      run(bundle(script("echo here", onlyItself, limited)), as()),
      /pids limit.*\(linux\.resources\.pids\.limit\)/,
    );
  },
  { skip: bySystemd || ours },
);

test(
  "--rootless=false: no cgroup, no container",
  () => {
    const b = bundle(script("echo here", onlyItself));
    mustFail(run(b, { ...as(), global: ["--rootless=false"] }), /cgroup.*permission denied/);
    expect(existsSync(`${root}/${b.id}`)).toBeFalse();
  },
  { skip: bySystemd || ours },
);

test(
  "what takes a cgroup says that there is none",
  () => {
    const b = waiting(onlyItself);
    mustFail(runtime(["pause", b.id], as()), /cgroup/);
    mustFail(runtime(["update", "--pids-limit", "5", b.id], as()), /cgroup|pids/);
    mustSucceed(exec(b, ["/bin/true"], as()));
  },
  { skip: bySystemd || ours },
);

test("the user namespace of another container of the user", () => {
  const b = waiting(withSubordinates);
  const { pid } = JSON.parse(mustSucceed(state(b, as())).stdout) as { pid: number };
  const joining: Mapping = (config, rootfs) => {
    delete config.linux.cgroupsPath;
    unshare(config, "user", `/proc/${pid}/ns/user`);
    unshare(config, "network", `/proc/${pid}/ns/net`);
    give(rootfs, UID, GID);
  };
  const seen = see("readlink /proc/self/ns/user; wc -l < /proc/self/uid_map; touch /x; stat -c %u /x", joining);
  const theirs = mustSucceed(exec(b, ["/bin/readlink", "/proc/self/ns/user"], as())).stdout;
  expect(seen).toBe(`${theirs}2\n0`);
});

/** Where podman runs the runtime for a user: as root of a user namespace that has the user's ids, and its own mounts. */
const ROOT_INSIDE = ["unshare", "--user", "--map-root-user", "--map-auto", "--mount"];

test("root of a user namespace: a container without one of its own", () => {
  const own = (config: Config, rootfs: string) => {
    delete config.linux.cgroupsPath;
    give(rootfs, UID, GID);
    config.process.oomScoreAdj = 100;
    config.process.user = { uid: 1000, gid: 1000, additionalGids: [7] };
    config.process.capabilities = {};
  };
  const text = "id -u; id -G; echo x > /dev/null && cat /proc/self/oom_score_adj; wc -l < /proc/self/uid_map";
  const through = [...asUser(home), ...ROOT_INSIDE];
  const b = bundle(script(text, own));
  expect(mustSucceed(run(b, { through })).stdout).toMatch(/^1000\n1000 7\n100\n2\n$/);
});

test("root of a user namespace: a container with a user namespace inside that, of which exec finds the way", () => {
  const own = (config: Config, rootfs: string) => {
    const ids = () => [{ containerID: 0, hostID: 1000, size: 500 }];
    mapTo(config, ids(), ids());
    give(rootfs, FIRST + 999, FIRST + 999);
    config.process.args = ["/bin/sleep", "1000"];
  };
  const b = bundle((config, { rootfs }) => own(config, rootfs));
  const text = `${RUNTIME} --root ${root} create --bundle ${b.dir} ${b.id} && ${RUNTIME} --root ${root} start ${b.id} &&
    ${RUNTIME} --root ${root} exec ${b.id} /bin/cat /proc/self/uid_map && ${RUNTIME} --root ${root} delete --force ${b.id}`;
  const result = mustSucceed(command([...asUser(home), ...ROOT_INSIDE, "sh", "-c", text]));
  expect(fields(result.stdout.trim())).toEqual([["0", "1000", "500"]]);
});

test("root of a user namespace without setgroups: its own group is no loss, others are refused", () => {
  const through = [...asUser(home, { grants: NONE }), "unshare", "--user", "--map-root-user", "--mount"];
  const groups =
    (...additionalGids: number[]) =>
    (config: Config, rootfs: string) => {
      delete config.linux.cgroupsPath;
      give(rootfs, UID, GID);
      config.process.user = { uid: 0, gid: 0, additionalGids };
    };
  const b = bundle(script("cat /proc/self/setgroups", groups(0)));
  expect(mustSucceed(run(b, { through })).stdout).toBe("deny\n");
  if (RUNTIME_NAME !== "tsrun") return;
  const refusal = run(bundle(script("echo ran", groups(0, 5))), { through });
  mustFail(refusal, /cannot set the additional groups \[0 5\]: operation not permitted: a user namespace/);
});

// --- what is missing ----------------------------------------------------------------------------------------------------

/** What is said when the maps take newuidmap, and this is the matter with it. */
function refused(who: UserOptions, map: Mapping = withSubordinates): string {
  const result = run(bundle(script("echo ran", map)), as(who));
  expect([result.status, result.stdout]).toEqual([1, ""]);
  expect(readdirSync(root)).toEqual([]);
  return RUNTIME_NAME === "tsrun" ? result.stderr : "";
}

function missing(title: string, who: UserOptions, expected: readonly string[], map?: Mapping): void {
  test(`missing: ${title}`, () => {
    const told = refused(who, map);
    if (RUNTIME_NAME === "tsrun") for (const text of expected) expect(told).toContain(text);
  });
}

const COPY = `${home}/newuidmap`;

missing("newuidmap", { before: hide("newuidmap") }, [
  `cannot map user id 0 to ${UID}, 1-65536 to ${FIRST}-${FIRST + COUNT - 1}: no such file or directory (linux.uidMappings): there is no newuidmap`,
  "apt-get install uidmap",
]);

missing("newgidmap", { before: hide("newgidmap") }, ["(linux.gidMappings): there is no newgidmap"]);

missing(
  "newuidmap's set-uid bit",
  { before: `cp /usr/bin/newuidmap ${COPY}; chmod 755 ${COPY}; mount --bind ${COPY} /usr/bin/newuidmap` },
  ["(linux.uidMappings)", '"/usr/bin/newuidmap" is not set-uid root', "chmod u+s /usr/bin/newuidmap"],
);

missing(
  "set-uid on the file system",
  { before: "mount --bind /usr/bin/newuidmap /usr/bin/newuidmap; mount -o remount,bind,nosuid /usr/bin/newuidmap" },
  ['"/usr/bin/newuidmap" is on a file system that is mounted nosuid', "mount -o remount,suid"],
);

missing("privileges for set-uid programs", { setpriv: ["--no-new-privs"] }, [
  'this process has no_new_privs, with which "/usr/bin/newuidmap" has no privileges',
]);

missing("all subordinate ids", { grants: NONE }, [
  `user "${NAME}" has no subordinate user ids in /etc/subuid`,
  `usermod --add-subuids ${FIRST}-${FIRST + COUNT - 1} ${NAME}`,
]);

missing("subordinate group ids", { grants: { subuid: `${UID}:${FIRST}:${COUNT}\n`, subgid: "" } }, [
  `user "${NAME}" has no subordinate group ids in /etc/subgid`,
  `usermod --add-subgids ${FIRST}-${FIRST + COUNT - 1} ${NAME}`,
]);

const less = `${NAME}:${FIRST}:1000\n`;
missing("some subordinate ids", { grants: { subuid: less, subgid: less } }, [
  `user id ${FIRST + 1000}-${FIRST + COUNT - 1} is not among the subordinate ids of "${NAME}" in /etc/subuid: ${FIRST}-${FIRST + 999}`,
  `usermod --add-subuids ${FIRST + 1000}-${FIRST + COUNT - 1} ${NAME}`,
]);

missing(
  "the ids of root, which nobody is given",
  {},
  ["user id 0 is not among", "map ids that are the caller's"],
  (config) => mapTo(config, [{ containerID: 0, hostID: 0, size: 1 }], [{ containerID: 0, hostID: GID, size: 1 }]),
);

missing(
  "a user namespace, which a config for root has not",
  {},
  ["a container without root needs a user namespace (linux.namespaces)", "tsrun spec --rootless"],
  () => {},
);

missing(
  "a network namespace to show in /sys",
  {},
  ["sysfs shows the network namespace, which is not the container's own"],
  (config, rootfs) => {
    onlyItself(config, rootfs);
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== "network");
    config.mounts.push({ destination: "/sys", type: "sysfs", source: "sysfs" });
  },
);

test(
  "missing: user namespaces, which are switched off",
  () => {
    const off = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"';
    const through = [...asUser(home), "unshare", "--user", "--map-root-user", "sh", "-c", off, "sh"];
    const result = run(bundle(script("echo ran", inside)), { through });
    mustFail(
      result,
      /user namespaces are switched off \(user\.max_user_namespaces is 0\)[\s\S]*sysctl -w user\.max_user_namespaces=15000/,
    );
  },
  { skip: ours },
);

/** What root of a user namespace can map. */
function inside(config: Config, rootfs: string): void {
  mapTo(config, [{ containerID: 0, hostID: 0, size: 1 }], [{ containerID: 0, hostID: 0, size: 1 }]);
  give(rootfs, UID, GID);
}

test(
  "missing: ids that the user namespace around the runtime has not",
  () => {
    const through = [...asUser(home), "unshare", "--user", "--map-root-user"];
    const map: Mapping = (config, rootfs) => {
      inside(config, rootfs);
      config.linux.uidMappings = [{ containerID: 0, hostID: 0, size: 2 }];
    };
    const result = run(bundle(script("echo ran", map)), { through });
    mustFail(result, /not every user id is there in the user namespace[\s\S]*\/proc\/self\/uid_map/);
  },
  { skip: ours },
);
