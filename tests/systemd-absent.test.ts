/** The systemd driver where systemd does not help: paths that are none, no systemd, one that does not answer. */
import { expect } from "bun:test";
import { existsSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { PLAIN_ENV } from "./helpers/command.ts";
import { waiting } from "./helpers/config.ts";
import { scopeOf } from "./helpers/manager.ts";
import {
  type Bundle,
  type Change,
  mustFail,
  mustSucceed,
  RUNTIME_NAME,
  type RunOptions,
  suite,
} from "./helpers/suite.ts";
import { slow } from "./helpers/time.ts";

const { test, bundle, create, runtime, runtimeBeside, after, home } = suite("systemd-absent");

const hasSystemd = existsSync("/run/systemd/system");
const notOurs = RUNTIME_NAME !== "tsrun" && "the texts are tsrun's own";

const SYSTEMD: RunOptions = { global: ["--systemd-cgroup"] };

function scoped(change?: Change): Bundle {
  return bundle((config, at) => {
    config.linux.cgroupsPath = `system.slice:tsrun:${at.id}`;
    waiting(config);
    change?.(config, at);
  });
}

test(
  "without root and without a systemd of the user's own it is said what is missing",
  () => {
    const env = { ...PLAIN_ENV, XDG_RUNTIME_DIR: "/nonexistent" };
    const options = { global: ["--systemd-cgroup", "--rootless", "true"], env };
    mustFail(create(scoped(), options), "the user's systemd is not running, or its D-Bus socket is not here");
  },
  { skip: notOurs },
);

test(
  "a path that is none of systemd's is refused before systemd is asked",
  () => {
    const refused = (cgroupsPath: string) =>
      create(
        bundle((config) => {
          config.linux.cgroupsPath = cgroupsPath;
        }),
        SYSTEMD,
      );
    for (const path of ["/system.slice/x", "a.slice:b", "a.slice:b:c:d"]) {
      mustFail(
        refused(path),
        `expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "${path}"`,
      );
    }
    for (const slice of ["a", "a--b.slice", "../x.slice", "-a.slice", "a/b.slice"]) {
      mustFail(refused(`${slice}:p:n`), `invalid slice name: "${slice}"`);
    }
    mustFail(refused("a.slice:p:../../n"), "parts of a file name");
  },
  { skip: notOurs },
);

test(
  "where systemd does not run it is said so, and how to go on without it",
  () => {
    mustFail(create(scoped(), SYSTEMD), /systemd is not running.*\n.*cgroupfs driver/);
  },
  { skip: notOurs || (hasSystemd && "it does run here") },
);

test(
  "a bus that never answers is not waited for longer than 10 s",
  async () => {
    const path = `${home}/bus`;
    const sockets: Socket[] = [];
    const server = createServer((socket) => void sockets.push(socket)).listen(path);
    after(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const b = scoped();
    const began = Date.now();
    const env = { ...PLAIN_ENV, DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${path}` };
    const creating = runtimeBeside(["create", "--bundle", b.dir, b.id], { ...SYSTEMD, env });
    mustFail(await creating.finish(30_000), "systemd has not answered within 10 s");
    expect(Date.now() - began).toBeGreaterThan(9_000);
    expect(Date.now() - began).toBeLessThan(10_000 + slow(3_000));
  },
  { skip: notOurs, limit: 40_000 },
);

test(
  "a plan can be printed without systemd, the call of D-Bus included",
  () => {
    const b = scoped((config) => {
      config.linux.resources = { pids: { limit: 20 } };
    });
    const { stdout } = mustSucceed(runtime(["--systemd-cgroup", "plan", "--bundle", b.dir, b.id]));
    expect(stdout).toContain(`#   StartTransientUnit("${scopeOf(b.id)}", "replace"`);
    expect(stdout).toContain("#   PIDs=@au [<agent>]");
    expect(stdout).toContain("#   TasksMax=uint64 20");
    expect(stdout).toContain(`/system.slice/${scopeOf(b.id)}`);
  },
  { skip: notOurs },
);
