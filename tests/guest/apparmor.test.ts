/** Profiles that the kernel enforces. */
import { afterAll, expect } from "bun:test";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { command } from "../helpers/command.ts";
import { type Config, grant, unshare } from "../helpers/config.ts";
import {
  type Bundle,
  type Change,
  mustFail,
  mustSucceed,
  RUNTIME_NAME,
  type RunOptions,
  suite,
  until,
} from "../helpers/suite.ts";

const { test, see, bundle, run, started, exec, runtime, status, refusal } = suite("apparmor");

const ALL = "file, capability, network, mount, umount, pivot_root, ptrace, signal, unix,";
/** Containers have paths that AppArmor sees from their own root, or from none. */
const FLAGS = "attach_disconnected";

const PROFILES = `
profile tsrun-test flags=(${FLAGS}) { ${ALL} deny /etc/secret r, change_profile, }
profile tsrun-test-other flags=(${FLAGS}) { ${ALL} deny /etc/other r, }
profile tsrun-test-complain flags=(${FLAGS},complain) { /bin/** mrix, }
profile tsrun-test-keeper flags=(${FLAGS}) { ${ALL} }
`;

mustSucceed(command(["apparmor_parser", "--replace"], { stdin: PROFILES }));
afterAll(() => void mustSucceed(command(["apparmor_parser", "--remove"], { stdin: PROFILES })));

const LABEL = "cat /proc/self/attr/apparmor/current";
const ENFORCED = "tsrun-test (enforce)";

const secret = (rootfs: string): void => {
  for (const name of ["secret", "other"]) writeFileSync(`${rootfs}/etc/${name}`, `${name}\n`, { mode: 0o644 });
};

const confined =
  (profile: string, more: (config: Config, rootfs: string) => void = () => {}): Change =>
  (config, { rootfs }) => {
    secret(rootfs);
    config.process.apparmorProfile = profile;
    more(config, rootfs);
  };

test("the container's process has the profile, which decides what it may read", () => {
  const seen = see(`${LABEL}; cat /etc/other; cat /etc/secret 2>&1`.concat("; true"), confined("tsrun-test"));
  expect(seen.split("\n")).toEqual([ENFORCED, "other", "cat: can't open '/etc/secret': Permission denied"]);
});

test("a profile in complain mode lets everything pass", () => {
  const seen = see(`${LABEL}; cat /etc/secret`, confined("tsrun-test-complain"));
  expect(seen.split("\n")).toEqual(["tsrun-test-complain (complain)", "secret"]);
});

test("unconfined is a profile too, where the caller is", () => {
  expect(see(`${LABEL}; cat /etc/secret`, confined("unconfined")).split("\n")).toEqual(["unconfined", "secret"]);
});

test("two profiles at once, by a name that says so", () => {
  const seen = see(`${LABEL}; cat /etc/secret /etc/other 2>&1; true`, confined("tsrun-test//&tsrun-test-other"));
  expect(seen).toContain("tsrun-test//&tsrun-test-other (enforce)");
  expect(seen.match(/Permission denied/g)).toHaveLength(2);
});

test("a profile that is not loaded: named, with what helps; nothing is left", () => {
  const message = refusal(confined("tsrun-test-missing"));
  expect(message).toContain("tsrun-test-missing");
  expect(message).toContain("process.apparmorProfile");
  expect(message).toContain("apparmor_parser");
});

const USER = { uid: 1000, gid: 1000 };

test("a user without capabilities, no_new_privs and a seccomp filter", () => {
  const seen = see(
    `${LABEL}; cat /etc/secret 2>&1; grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status`,
    confined("tsrun-test", (config) => {
      config.process.user = USER;
      config.process.capabilities = {};
      config.process.noNewPrivileges = true;
      config.linux.seccomp = { defaultAction: "SCMP_ACT_ALLOW" };
    }),
  );
  expect(seen.replaceAll("\t", " ").split("\n")).toEqual([
    ENFORCED,
    "cat: can't open '/etc/secret': Permission denied",
    "CapEff: 0000000000000000",
    "NoNewPrivs: 1",
    "Seccomp: 2",
  ]);
});

test("without no_new_privs, beside a seccomp filter", () => {
  const change = confined("tsrun-test", (config) => {
    config.process.user = USER;
    config.linux.seccomp = { defaultAction: "SCMP_ACT_ALLOW" };
  });
  expect(see(LABEL, change)).toBe(ENFORCED);
});

const withUserNamespace = (config: Config): void => {
  unshare(config, "user");
  config.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
  config.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
};

test("in a user namespace: the process, and one that exec adds", () => {
  const b = started(confined("tsrun-test", withUserNamespace));
  expect(profileOf(b)).toBe(ENFORCED);
  expect(mustSucceed(exec(b, ["/bin/sh", "-c", LABEL])).stdout).toBe(`${ENFORCED}\n`);
});

const pidOf = (b: Bundle): number => JSON.parse(mustSucceed(runtime(["state", b.id])).stdout).pid;
/** As the host sees it: the container can show what it likes. */
const profileOf = (b: Bundle): string => labelOf(pidOf(b));
const labelOf = (pid: number): string => readFileSync(`/proc/${pid}/attr/apparmor/current`, "utf8").trim();

test("exec has the container's profile, one of its own, or none", () => {
  const b = started(confined("tsrun-test"));
  const label = (...flags: string[]) => mustSucceed(exec(b, ["/bin/sh", "-c", LABEL], { flags })).stdout.trim();
  expect(label()).toBe(ENFORCED);
  expect(label("--apparmor", "tsrun-test-other")).toBe("tsrun-test-other (enforce)");
  expect(label("--apparmor", "unconfined")).toBe("unconfined");
  expect(profileOf(b)).toBe(ENFORCED);
});

test("exec --process: what the file says, and without that what the container has", () => {
  const b = started(confined("tsrun-test"));
  const file = `${b.dir}/process.json`;
  const label = (more: object): string => {
    const process = { ...b.config.process, args: ["/bin/sh", "-c", LABEL], apparmorProfile: undefined, ...more };
    writeFileSync(file, JSON.stringify(process));
    return mustSucceed(runtime(["exec", "--process", file, b.id])).stdout.trim();
  };
  expect(label({})).toBe(ENFORCED);
  expect(label({ apparmorProfile: "tsrun-test-other", noNewPrivileges: true, user: USER })).toBe(
    "tsrun-test-other (enforce)",
  );
});

test("exec with a profile that is not loaded: the container goes on", () => {
  const b = started(confined("tsrun-test"));
  const result = exec(b, ["/bin/true"], { flags: ["--apparmor", "tsrun-test-missing"] });
  mustFail(result, "tsrun-test-missing", 255);
  expect(result.stderr).toContain("--apparmor");
  expect(status(b)).toBe("running");
});

/** A /proc of the image's own, where a runtime that writes to a path would leave the label. */
function fakeProc(rootfs: string): string[] {
  const threads = ["self", "thread-self", "1", "1/task/1"];
  return threads.flatMap((thread) => {
    mkdirSync(`${rootfs}/proc/${thread}/attr/apparmor`, { recursive: true });
    return ["exec", "apparmor/exec"].map((name) => {
      const file = `${rootfs}/proc/${thread}/attr/${name}`;
      writeFileSync(file, "nothing\n");
      chmodSync(file, 0o666);
      return file;
    });
  });
}

const withoutProc = (config: Config): void => {
  config.mounts = config.mounts.filter(({ destination }) => destination !== "/proc");
};

test("an image with a /proc of its own gets no label written to it, and no process without one", () => {
  let files: string[] = [];
  const b = started(
    confined("tsrun-test", (config, rootfs) => {
      files = fakeProc(rootfs);
      withoutProc(config);
    }),
  );
  expect(profileOf(b)).toBe(ENFORCED);
  const seen = mustSucceed(exec(b, ["/bin/cat", "/proc/1/attr/exec"])).stdout;
  expect(seen).toBe("nothing\n");
  for (const file of files) expect(readFileSync(file, "utf8")).toBe("nothing\n");
});

test("a container that has covered its /proc cannot keep a process of exec from its label", () => {
  const cover =
    "mkdir -p /tmp/p && mount -t tmpfs none /tmp/p && for t in self thread-self 1; do mkdir -p /tmp/p/$t/attr/apparmor; " +
    "for f in exec apparmor/exec; do echo nothing > /tmp/p/$t/attr/$f; done; done; mount -o move /tmp/p /proc && touch /done; " +
    "exec sleep 1000";
  const b = started(
    confined("tsrun-test", (config) => {
      config.process.args = ["/bin/sh", "-c", cover];
      grant(config, "CAP_SYS_ADMIN");
    }),
  );
  until(() => existsSync(`${b.rootfs}/done`), "the container to cover its /proc");
  const pidFile = `${b.dir}/pid`;
  const flags = ["--detach", "--pid-file", pidFile, "--apparmor", "tsrun-test-other"];
  mustSucceed(exec(b, ["/bin/sleep", "100"], { flags }));
  expect(labelOf(Number(readFileSync(pidFile, "utf8")))).toBe("tsrun-test-other (enforce)");
  const seen = mustSucceed(exec(b, ["/bin/sh", "-c", "cat /proc/*/attr/exec /proc/*/attr/apparmor/exec"])).stdout;
  expect(seen).toBe("nothing\n".repeat(6));
});

test("startContainer hooks, whose programs are the image's, are confined; createContainer hooks, the engine's, are not", () => {
  const hook = (name: string) => ({
    path: "/bin/sh",
    args: ["sh", "-c", `cat /proc/self/attr/apparmor/current > ${name}`],
    env: ["PATH=/bin:/usr/bin"],
  });
  const b = bundle(
    confined("tsrun-test", (config, rootfs) => {
      config.hooks = {
        createContainer: [hook(`${rootfs}/create`)],
        startContainer: [hook("/start")],
      };
    }),
  );
  mustSucceed(run(b));
  expect(readFileSync(`${b.rootfs}/create`, "utf8").trim()).toBe("unconfined");
  expect(readFileSync(`${b.rootfs}/start`, "utf8").trim()).toBe(ENFORCED);
});

/** The runtime itself has a profile. */
const inside = (profile: string): RunOptions => ({
  through: ["sh", "-c", `echo "exec ${profile}" > /proc/self/attr/apparmor/exec; exec "$@"`, "sh"],
});

test("a runtime that is confined hands its profile on, and says when it may not choose another", () => {
  const b = bundle((config) => (config.process.args = ["/bin/sh", "-c", LABEL]));
  expect(mustSucceed(run(b, inside("tsrun-test-keeper"))).stdout.trim()).toBe("tsrun-test-keeper (enforce)");
  const result = run(bundle(confined("tsrun-test-other")), inside("tsrun-test-keeper"));
  expect(result.status).not.toBe(0);
  expect(result.stderr).toContain("permission denied");
  if (RUNTIME_NAME === "tsrun") expect(result.stderr).toContain("tsrun is confined");
});

test("a confined runtime and no_new_privs: no way out of its own profile, and the error says what it may be", () => {
  const b = bundle(confined("tsrun-test-other", (config) => (config.process.noNewPrivileges = true)));
  const result = run(b, inside("tsrun-test"));
  expect(result.status).not.toBe(0);
  expect(result.stderr).toContain("operation not permitted");
  if (RUNTIME_NAME === "tsrun")
    expect(result.stderr).toContain('the AppArmor profile "tsrun-test-other" may forbid it');
});

const own = suite("apparmor-rootless");
mkdirSync(own.root);
chownSync(own.root, USER.uid, USER.gid);

/** Nobody but root can make a procfs beside the host's; what exec needs is written through that one. */
own.test("without root: the container's process, and one of exec, by way of the host's /proc", () => {
  const asSomeone: RunOptions = { through: ["runuser", "-u", "someone", "--"] };
  const b = own.bundle(
    confined("tsrun-test", (config, rootfs) => {
      unshare(config, "user");
      config.linux.uidMappings = [{ containerID: 0, hostID: USER.uid, size: 1 }];
      config.linux.gidMappings = [{ containerID: 0, hostID: USER.gid, size: 1 }];
      delete config.linux.cgroupsPath;
      config.process.args = ["/bin/sleep", "1000"];
      chownSync(rootfs, USER.uid, USER.gid);
    }),
  );
  mustSucceed(own.create(b, asSomeone));
  mustSucceed(own.start(b, asSomeone));
  const pid = JSON.parse(mustSucceed(own.runtime(["state", b.id])).stdout).pid;
  expect(labelOf(pid)).toBe(ENFORCED);
  expect(mustSucceed(own.exec(b, ["/bin/sh", "-c", LABEL], asSomeone)).stdout.trim()).toBe(ENFORCED);
  const other = { ...asSomeone, flags: ["--apparmor", "tsrun-test-other"] };
  expect(mustSucceed(own.exec(b, ["/bin/sh", "-c", LABEL], other)).stdout).toContain("tsrun-test-other");
});
