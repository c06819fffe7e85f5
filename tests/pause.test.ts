/** pause, resume, and exec --ignore-paused: with v1's freezer where there is one, and with v2's. */
import { expect } from "bun:test";
import { existsSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { controllerPlace } from "./helpers/cgroup-files.ts";
import { commandBeside } from "./helpers/command.ts";
import { cgroupsOf, processesOf } from "./helpers/leaks.ts";
import { MANAGER } from "./helpers/manager.ts";
import { noStuckFileSystem, stuckFileSystem } from "./helpers/stuck-file-system.ts";
import {
  type Bundle,
  type Change,
  mustFail,
  mustSucceed,
  RUNTIME_NAME,
  type RunOptions,
  suite,
  until,
} from "./helpers/suite.ts";
import { slow } from "./helpers/time.ts";

const s = suite("pause");
const { test, started, bundle, create, start, exec, kill, remove, status, untilStatus, runtime, runtimeBeside } = s;

/** What would leave a process behind that only a reboot ends. */
const hangs = RUNTIME_NAME === "runc" && "runc 1.1.5 waits for ever";

/** Where v1 has the freezer, containers that see nothing but v2 are tested besides. */
const VIEWS: [string, RunOptions][] =
  controllerPlace("freezer")?.version === 1
    ? [
        ["v1", {}],
        ["v2", { view: "v2" }],
      ]
    : [["v2", {}]];

const counting: Change = (config) => {
  config.process.args = ["/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /tmp/n; sleep 0.01; done"];
};

const countOf = (b: Bundle): string =>
  existsSync(`${b.rootfs}/tmp/n`) ? readFileSync(`${b.rootfs}/tmp/n`, "utf8") : "";

function untilItCounts(b: Bundle): void {
  const before = countOf(b);
  until(() => countOf(b) !== before && countOf(b) !== "", "the counter to count");
}

function expectStill(b: Bundle): void {
  const before = countOf(b);
  Bun.sleepSync(slow(100));
  expect(countOf(b)).toBe(before);
}

/** The container's cgroup that is frozen when it is paused. */
function freezerOf(b: Bundle): { file: string; frozen: string; thawed: string; directory: string } {
  const own = cgroupsOf(b.id).filter((path) => !path.includes(`${b.id}/`));
  const v1 = own.find((path) => existsSync(`${path}/freezer.state`));
  if (v1 !== undefined) return { directory: v1, file: `${v1}/freezer.state`, frozen: "FROZEN", thawed: "THAWED" };
  const v2 = own.find((path) => existsSync(`${path}/cgroup.freeze`))!;
  return { directory: v2, file: `${v2}/cgroup.freeze`, frozen: "1", thawed: "0" };
}

for (const [view, options] of VIEWS) {
  const within = { ...options };
  const pause = (b: Bundle) => runtime(["pause", b.id], within);
  const resume = (b: Bundle) => runtime(["resume", b.id], within);

  test(
    `${view}: pause and resume a hundred times: it stops and goes on each time`,
    () => {
      const b = started(counting, options);
      for (let round = 0; round < 100; round++) {
        mustSucceed(pause(b));
        if (round % 25 === 0) expectStill(b);
        mustSucceed(resume(b));
        if (round % 25 === 0) untilItCounts(b);
      }
      expect(status(b)).toBe("running");
    },
    { limit: slow(60_000) },
  );

  test(`${view}: state and list say that it is paused`, () => {
    const b = started(undefined, options);
    mustSucceed(pause(b));
    expect(status(b)).toBe("paused");
    const listed = JSON.parse(mustSucceed(runtime(["list", "--format", "json"], within)).stdout) as {
      id: string;
      status: string;
    }[];
    expect(listed.find(({ id }) => id === b.id)?.status).toBe("paused");
    mustSucceed(resume(b));
    expect(status(b)).toBe("running");
  });

  test(`${view}: pausing what is paused, and resuming what is not, are errors`, () => {
    const b = started(undefined, options);
    mustFail(resume(b), "container not paused");
    mustSucceed(pause(b));
    mustFail(pause(b), "container not running");
    expect(status(b)).toBe("paused");
    mustSucceed(resume(b));
    mustFail(resume(b), "container not paused");
  });

  test(`${view}: neither is for one that has stopped`, () => {
    const b = started(undefined, options);
    mustSucceed(kill(b, "KILL"));
    untilStatus(b, "stopped");
    mustFail(pause(b), "container not running");
    mustFail(resume(b), "container not paused");
  });

  test(`${view}: one that is only created can be paused, and started later`, () => {
    const b = bundle(counting);
    mustSucceed(create(b, options));
    mustSucceed(pause(b));
    expect(status(b)).toBe("paused");
    mustSucceed(resume(b));
    expect(status(b)).toBe("created");
    mustSucceed(start(b));
    untilItCounts(b);
  });

  test(`${view}: SIGKILL ends it although it is paused`, () => {
    const b = started(undefined, options);
    mustSucceed(pause(b));
    mustSucceed(kill(b, "KILL"));
    untilStatus(b, "stopped");
  });

  test(`${view}: kill --all ends it although it is paused`, () => {
    const b = started(
      (config) => (config.process.args = ["/bin/sh", "-c", "setsid sleep 1000 & exec sleep 1000"]),
      options,
    );
    mustSucceed(pause(b));
    mustSucceed(runtime(["kill", "--all", b.id, "KILL"], within));
    untilStatus(b, "stopped");
  });

  test(`${view}: other signals wait until it goes on`, () => {
    const b = started((config) => {
      config.process.args = [
        "/bin/sh",
        "-c",
        "trap 'echo > /tmp/n; exit' TERM; echo > /tmp/ready; while :; do sleep 0.01; done",
      ];
    }, options);
    until(() => existsSync(`${b.rootfs}/tmp/ready`), "the trap");
    mustSucceed(pause(b));
    mustSucceed(kill(b, "TERM"));
    Bun.sleepSync(slow(50));
    expect(status(b)).toBe("paused");
    mustSucceed(resume(b));
    untilStatus(b, "stopped");
    expect(existsSync(`${b.rootfs}/tmp/n`)).toBeTrue();
  });

  test(`${view}: delete refuses it, delete --force takes it away`, () => {
    const b = started(undefined, options);
    mustSucceed(pause(b));
    mustFail(remove(b), "paused");
    expect(status(b)).toBe("paused");
    mustSucceed(remove(b, { flags: ["--force"] }));
    expect(status(b)).toBeUndefined();
  });

  test(`${view}: exec refuses, and says how to do it all the same`, () => {
    const b = started(undefined, options);
    mustSucceed(pause(b));
    mustFail(exec(b, ["/bin/true"]), "cannot exec in a paused container (use --ignore-paused to override)", 255);
  });

  test(`${view}: exec --ignore-paused waits for resume`, async () => {
    const b = started(undefined, options);
    mustSucceed(pause(b));
    const waiting = runtimeBeside(["exec", "--ignore-paused", b.id, "/bin/echo", "here"], within);
    Bun.sleepSync(slow(200));
    expect(status(b)).toBe("paused");
    mustSucceed(resume(b));
    expect(mustSucceed(await waiting.finish()).stdout).toBe("here\n");
  });

  test(
    `${view}: exec --ignore-paused that is interrupted leaves nothing`,
    async () => {
      const b = started(undefined, options);
      mustSucceed(pause(b));
      const waiting = runtimeBeside(["exec", "--ignore-paused", b.id, "/bin/sleep", "777"], within);
      Bun.sleepSync(slow(200));
      waiting.kill("SIGINT");
      expect((await waiting.finish()).status).not.toBe(-1);
      mustSucceed(resume(b));
      const left = () =>
        processesOf(b.id).filter((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8") !== "/bin/sleep\x001000\0");
      until(() => left().length === 0, "the interrupted process to be gone");
    },
    { skip: hangs },
  );

  test(
    `${view}: a frozen cgroup above makes it paused; resume says which`,
    () => {
      const b = started(
        (config) => (config.linux.cgroupsPath = `/${config.linux.cgroupsPath!.slice(1)}-above/inner`),
        options,
      );
      const above = cgroupsOf(b.id).filter((path) => path.endsWith("-above"));
      const cgroup =
        above.find((path) => existsSync(`${path}/freezer.state`)) ??
        above.find((path) => existsSync(`${path}/cgroup.freeze`))!;
      const isV1 = existsSync(`${cgroup}/freezer.state`);
      const set = (frozen: boolean) =>
        writeFileSync(
          `${cgroup}/${isV1 ? "freezer.state" : "cgroup.freeze"}`,
          isV1 ? (frozen ? "FROZEN" : "THAWED") : frozen ? "1" : "0",
        );
      try {
        set(true);
        untilStatus(b, "paused");
        mustFail(resume(b), /cgroup ".*-above" above it is frozen/);
      } finally {
        set(false);
      }
      untilStatus(b, "running");
      mustSucceed(kill(b, "KILL"));
      untilStatus(b, "stopped");
      mustSucceed(remove(b));
      for (const path of above) rmdirSync(path);
    },
    { skip: hangs || (MANAGER === "systemd" && "systemd makes the cgroups above") },
  );

  test(
    `${view}: what a killed pause left half frozen can be resumed`,
    async () => {
      const b = started(counting, options);
      untilItCounts(b);
      const freezer = freezerOf(b);
      const end = stuckFileSystem(`${b.dir}/stuck`);
      s.after(end);
      const stuck = commandBeside([
        "sh",
        "-c",
        `echo $$ > ${freezer.directory}/cgroup.procs; exec cat ${b.dir}/stuck/x`,
      ]);
      until(() => isStuck(stuck.pid), "a process that waits");
      const pausing = runtimeBeside(["pause", b.id], within);
      until(() => readFileSync(freezer.file, "utf8").trim() !== freezer.thawed, "it to begin");
      pausing.kill("SIGKILL");
      Bun.sleepSync(slow(50));
      expect(status(b)).toBe("running");
      mustSucceed(resume(b));
      expect(readFileSync(freezer.file, "utf8").trim()).toBe(freezer.thawed);
      untilItCounts(b);
      end();
      await stuck.finish();
    },
    { skip: noStuckFileSystem ?? hangs },
  );

  test(
    `${view}: a process that cannot be frozen: pause gives up, says who, and all run again`,
    async () => {
      const b = started(counting, options);
      untilItCounts(b);
      const freezer = freezerOf(b);
      const end = stuckFileSystem(`${b.dir}/stuck`);
      s.after(end);
      const stuck = commandBeside([
        "sh",
        "-c",
        `echo $$ > ${freezer.directory}/cgroup.procs; exec cat ${b.dir}/stuck/x`,
      ]);
      until(() => isStuck(stuck.pid), "a process that waits");
      // Two ways of giving up: after its time, and when it is asked to.
      const began = Date.now();
      const late = runtimeBeside(["pause", b.id], within);
      if (view === "v2") {
        until(() => readFileSync(freezer.file, "utf8").trim() !== freezer.thawed, "it to begin");
        late.kill("SIGTERM");
      }
      const result = await late.finish(slow(20_000));
      mustFail(
        result,
        view === "v2"
          ? "a signal came first"
          : new RegExp(`not all of its processes freeze within 10 s .*process ${stuck.pid} \\(cat\\) waits in `),
      );
      expect(Date.now() - began).toBeLessThan(slow(15_000));
      expect(readFileSync(freezer.file, "utf8").trim()).toBe(freezer.thawed);
      expect(status(b)).toBe("running");
      untilItCounts(b);
      end();
      await stuck.finish();
      mustSucceed(pause(b));
      expectStill(b);
    },
    { skip: noStuckFileSystem, limit: slow(40_000) },
  );

  test(`${view}: a fork bomb is stopped as a whole`, () => {
    const b = started((config) => {
      config.process.args = [
        "/bin/sh",
        "-c",
        "for i in 1 2 3 4; do (while :; do /bin/true; done) & done; while :; do /bin/true; done",
      ];
    }, options);
    for (let round = 0; round < 5; round++) {
      mustSucceed(pause(b));
      const { directory } = freezerOf(b);
      const pids = () => readFileSync(`${directory}/cgroup.procs`, "utf8");
      const before = pids();
      Bun.sleepSync(slow(30));
      expect(pids()).toBe(before);
      mustSucceed(resume(b));
    }
  });
}

function isStuck(pid: number): boolean {
  return existsSync(`/proc/${pid}/wchan`) && readFileSync(`/proc/${pid}/wchan`, "utf8").startsWith("request_wait");
}

for (const name of ["pause", "resume"]) {
  test(`${name} of a container that does not exist`, () => {
    mustFail(runtime([name, "no-such-container"]), "does not exist");
  });

  test(`${name} without an id, or with two`, () => {
    expect(runtime([name]).status).not.toBe(0);
    expect(runtime([name, "a", "b"]).status).not.toBe(0);
  });
}

test(
  "one without a cgroup of its own cannot be paused",
  () => {
    const b = bundle((config) => (config.process.args = ["/bin/sleep", "1000"]));
    mustSucceed(create(b, { global: ["--cgroup-manager", "disabled"] }));
    mustSucceed(start(b));
    mustFail(runtime(["pause", b.id]), "it has no cgroup that can be frozen");
    expect(status(b)).toBe("running");
  },
  {
    skip:
      (RUNTIME_NAME === "runc" && "runc has no --cgroup-manager") ||
      (MANAGER === "systemd" && "--systemd-cgroup is given"),
  },
);
