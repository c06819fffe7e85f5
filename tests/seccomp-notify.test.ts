import { expect } from "bun:test";
import { chownSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import type { Seccomp } from "./helpers/config.ts";
import { asUser, GID, onlyItself, ownDirectory, UID } from "./helpers/ordinary-user.ts";
import { closeListener, nextCall } from "./helpers/seccomp-agent.ts";
import { type Message, unixSocket } from "./helpers/sockets.ts";
import {
  type Bundle,
  type Change,
  mustFail,
  mustSucceed,
  RUNTIME_NAME,
  type RunOptions,
  suite,
} from "./helpers/suite.ts";
import { writeSyscallProgram } from "./helpers/syscall-program.ts";

const { test, bundle, run, refusal, runtime, runtimeBeside, home, ...more } = suite("seccomp-notify");
const { create, start, state, kill, status, untilStatus, knownIds, after, remove } = more;

const skip = process.arch === "x64" ? undefined : "the programs that make the calls are x86-64";

const waits = RUNTIME_NAME === "tsrun" ? undefined : "this runtime waits for ever";

/** Why calls cannot be told to wait in spite of signals. */
function notKillable(): string | undefined {
  if (RUNTIME_NAME !== "tsrun") return "this runtime does not ask for it";
  const { linux } = JSON.parse(mustSucceed(runtime(["features"])).stdout);
  const has = linux.seccomp.supportedFlags.includes("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
  return has ? undefined : "this kernel cannot (Linux 5.19 can)";
}

const GETPGRP = 111;
const EXECVE = 59;
const GREETING = "who may do what";

let sockets = 0;

/** A socket for the runtime to connect to, and a profile that asks about these calls there. */
function agent(...names: string[]) {
  const path = `${home}/${++sockets}.sock`;
  const socket = unixSocket(path, "stream");
  after(() => socket.close());
  const profile: Seccomp = {
    defaultAction: "SCMP_ACT_ALLOW",
    listenerPath: path,
    listenerMetadata: GREETING,
    syscalls: [{ names, action: "SCMP_ACT_NOTIFY" }],
  };
  const accept = (closes = true) => {
    const message = socket.accept();
    if (closes) for (const fd of message.fds) after(() => closeListener(fd));
    return message;
  };
  return { profile, accept };
}

function calling(profile: Seccomp, change?: Change): Bundle {
  const b = bundle((config, at) => {
    config.linux.seccomp = profile;
    config.process.args = ["/tmp/call"];
    change?.(config, at);
  });
  writeSyscallProgram(`${b.rootfs}/tmp/call`, { number: GETPGRP });
  return b;
}

const runBeside = (b: Bundle) => runtimeBeside(["run", "--bundle", b.dir, b.id]);

/** All that are in the pid namespace of the container. */
function processesOf(b: Bundle): string[] {
  const namespace = (pid: string | number) => {
    try {
      return readlinkSync(`/proc/${pid}/ns/pid`);
    } catch {
      return undefined;
    }
  };
  const own = namespace(JSON.parse(mustSucceed(state(b)).stdout).pid);
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name) && namespace(name) === own);
}

function checkMessage({ text, fds }: Message, b: Bundle, containerStatus: string): void {
  const { pid, ...said } = JSON.parse(text);
  expect(pid).toBeGreaterThan(1);
  expect(fds).toHaveLength(1);
  expect(said).toMatchObject({
    ociVersion: expect.any(String),
    fds: ["seccompFd"],
    metadata: GREETING,
    state: { id: b.id, status: containerStatus, pid: expect.any(Number), bundle: b.dir },
  });
}

for (const noNewPrivileges of [true, false]) {
  test(
    `run, noNewPrivileges ${noNewPrivileges}: the agent decides`,
    async () => {
      const { profile, accept } = agent("getpgrp");
      const b = calling(profile, (config) => (config.process.noNewPrivileges = noNewPrivileges));
      const running = runBeside(b);
      const message = accept();
      checkMessage(message, b, "creating");
      const call = nextCall(message.fds[0]!);
      expect(call.number).toBe(GETPGRP);
      call.fail(77);
      expect((await running.finish()).status).toBe(77);
    },
    { skip },
  );
}

test(
  "create and start: a listener for the container, another one for each exec",
  async () => {
    const { profile, accept } = agent("getpgrp");
    const b = calling(profile, (config) => (config.process.args = ["/bin/sleep", "1000"]));
    mustSucceed(create(b));
    mustSucceed(start(b));
    checkMessage(accept(), b, "creating");
    const running = runtimeBeside(["exec", b.id, "/tmp/call"]);
    const message = accept();
    checkMessage(message, b, "running");
    nextCall(message.fds[0]!).fail(78);
    expect((await running.finish()).status).toBe(78);
  },
  { skip },
);

test(
  "the program itself is asked about",
  async () => {
    const { profile, accept } = agent("execve", "getpgrp");
    const running = runBeside(calling(profile));
    const [listener] = accept().fds;
    const first = nextCall(listener!);
    expect(first.number).toBe(EXECVE);
    first.allow();
    nextCall(listener!).fail(79);
    expect((await running.finish()).status).toBe(79);
  },
  { skip },
);

test(
  "an agent that is gone: calls fail with ENOSYS",
  async () => {
    const { profile, accept } = agent("getpgrp");
    const running = runBeside(calling(profile));
    for (const fd of accept(false).fds) closeListener(fd);
    expect((await running.finish()).status).toBe(38);
  },
  { skip },
);

test(
  "an agent that takes its time is waited for",
  async () => {
    const { profile, accept } = agent("execve", "getpgrp");
    const running = runBeside(calling(profile));
    await Bun.sleep(700);
    const [listener] = accept().fds;
    await Bun.sleep(700);
    nextCall(listener!).allow();
    nextCall(listener!).fail(81);
    expect((await running.finish()).status).toBe(81);
  },
  { skip },
);

const TEN_SECONDS = 10_000;

test(
  "an agent that never answers for execve, or is gone: an error after ten seconds, for a container and for exec",
  async () => {
    const { profile, accept } = agent("execve");
    const beside = (...words: string[]) => runtimeBeside(words);
    const b = calling(profile, (config) => (config.process.args = ["/bin/sleep", "1000"]));
    const running = beside("run", "--detach", "--bundle", b.dir, b.id);
    nextCall(accept().fds[0]!).allow();
    expect((await running.finish()).status).toBe(0);
    const began = Date.now();
    const run = (one: Bundle) => beside("run", "--bundle", one.dir, one.id);
    const commands = [run(calling(profile)), run(calling(profile)), beside("exec", b.id, "/tmp/call")];
    const messages = [accept(), accept(), accept(false)];
    for (const fd of messages[2]!.fds) closeListener(fd);
    for (const command of commands) {
      const { status, stderr } = await command.finish(3 * TEN_SECONDS);
      expect(stderr).toContain(
        "the container's process has not begun its program in 10 seconds: no answer from the seccomp agent (linux.seccomp.listenerPath)",
      );
      expect(status).toBeGreaterThan(0);
    }
    expect(Date.now() - began).toBeGreaterThan(TEN_SECONDS - 100);
    expect(knownIds()).toEqual([b.id]);
    expect(processesOf(b)).toHaveLength(1);
  },
  { skip: skip ?? waits, limit: 60_000 },
);

test(
  "an agent that never accepts: the calls wait, and the container can be killed",
  () => {
    const { profile } = agent("getpgrp");
    const b = calling(profile);
    mustSucceed(create(b));
    mustSucceed(start(b));
    expect(status(b)).toBe("running");
    mustSucceed(kill(b, "KILL"));
    untilStatus(b, "stopped");
  },
  { skip },
);

test(
  "a call that waits for its answer is not begun again by a signal, where the kernel can do that",
  async () => {
    const { profile, accept } = agent("chdir");
    const b = calling(profile, (config) => {
      config.process.args = ["/bin/sh", "-c", "trap 'echo caught' USR1; cd /tmp; echo done"];
    });
    const running = runBeside(b);
    const call = nextCall(accept().fds[0]!);
    process.kill(call.pid, "SIGUSR1");
    await Bun.sleep(300);
    call.allow();
    const { stdout } = await running.finish();
    expect(stdout).toBe("caught\ndone\n");
  },
  { skip: notKillable() },
);

test(
  "a user who is not root: for the container, and for each exec",
  async () => {
    const { profile, accept } = agent("getpgrp");
    chownSync(profile.listenerPath!, UID, GID);
    const own = ownDirectory(`${home}/user`);
    const who = (): RunOptions => ({ through: asUser(home), global: ["--root", own] });
    const b = calling(profile, (config, { rootfs }) => {
      onlyItself(config, rootfs);
      config.process.args = ["/bin/sleep", "1000"];
    });
    after(() => remove(b, { ...who(), flags: ["--force"] }));
    mustSucceed(create(b, who()));
    mustSucceed(start(b, who()));
    checkMessage(accept(), b, "creating");
    const running = runtimeBeside(["exec", b.id, "/tmp/call"], who());
    const message = accept();
    checkMessage(message, b, "running");
    nextCall(message.fds[0]!).fail(80);
    expect((await running.finish()).status).toBe(80);
  },
  { skip },
);

test(
  "a user who is not root, and a profile that keeps the process from sending its listener: a clear error",
  () => {
    const { profile } = agent("getpgrp");
    chownSync(profile.listenerPath!, UID, GID);
    const own = ownDirectory(`${home}/denied`);
    const denied = { names: ["sendmsg"], action: "SCMP_ACT_ERRNO" };
    const b = calling({ ...profile, syscalls: [...profile.syscalls!, denied] }, (config, { rootfs }) =>
      onlyItself(config, rootfs),
    );
    const result = run(b, { through: asUser(home), global: ["--root", own] });
    mustFail(result, "cannot take the seccomp listener: the profile denies sendmsg (linux.seccomp)");
    expect(readdirSync(own).filter((name) => name !== "@seccomp")).toEqual([]);
  },
  { skip: skip ?? waits },
);

test("what is there does not listen: a clear error", () => {
  writeFileSync(`${home}/stale`, "");
  const profile = { ...agent("getpgrp").profile, listenerPath: `${home}/stale` };
  const said = refusal((config) => (config.linux.seccomp = profile));
  expect(said).toMatch(/failed to connect with seccomp agent.*connection refused|connect.*connection refused/is);
});

test("nobody listens: a clear error, and no container", () => {
  const profile = { ...agent("getpgrp").profile, listenerPath: `${home}/nobody.sock` };
  expect(refusal((config) => (config.linux.seccomp = profile))).toContain("failed to connect with seccomp agent");
  const b = bundle((config) => (config.linux.seccomp = profile));
  const created = create(b);
  if (RUNTIME_NAME === "tsrun") {
    mustSucceed(created);
    expect(start(b).stderr).toContain("failed to connect with seccomp agent");
    expect(status(b)).toBe("stopped");
  }
});

const BAD: readonly (readonly [title: string, change: (profile: Seccomp) => void, says: RegExp])[] = [
  ["as the default", (profile) => (profile.defaultAction = "SCMP_ACT_NOTIFY"), /cannot be used as default action/],
  ["for write", ({ syscalls }) => (syscalls![0]!.names = ["write"]), /cannot be used for the write syscall/],
  ["without listenerPath", (profile) => delete profile.listenerPath, /listener_?path/i],
];
for (const [title, change, says] of BAD) {
  test(`SCMP_ACT_NOTIFY ${title} is refused`, () => {
    const { profile } = agent("getpgrp");
    change(profile);
    expect(refusal((config) => (config.linux.seccomp = profile))).toMatch(says);
  });
}

test("a profile that denies execve is refused", () => {
  const syscalls = [{ names: ["execve"], action: "SCMP_ACT_ERRNO" }];
  const said = refusal((config) => (config.linux.seccomp = { defaultAction: "SCMP_ACT_ALLOW", syscalls }));
  expect(said).toMatch(/the seccomp profile denies execve|operation not permitted|execv: Operation not permitted/i);
});

test(
  "a profile under which the process cannot tell why its program fails",
  () => {
    const b = bundle((config) => {
      config.linux.seccomp = {
        defaultAction: "SCMP_ACT_ERRNO",
        syscalls: [{ names: ["execve", "exit_group", "capset"], action: "SCMP_ACT_ALLOW" }],
      };
      config.process.args = ["/tmp/garbage"];
      config.process.noNewPrivileges = true;
    });
    writeFileSync(`${b.rootfs}/tmp/garbage`, "no program\n", { mode: 0o755 });
    expect(run(b).status).toBe(126);
  },
  { skip: RUNTIME_NAME === "tsrun" ? undefined : "this runtime needs more calls itself" },
);
