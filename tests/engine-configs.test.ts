/**
 * What engines really write (src/spec/testdata has one config.json of each) runs, once what lies on the engine's machine
 * (root file system, sources of mounts, namespaces of a sandbox, cgroup, hooks) is replaced by something local.
 */
import { expect } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import type { Config, Mount } from "./helpers/config.ts";
import { type Bundle, mustSucceed, suite } from "./helpers/suite.ts";

const { test, bundle, run, started, state } = suite("engine-configs");

const FOLDER = `${import.meta.dir}/../src/spec/testdata`;

const SCRIPT = `hostname
  sed -n 's/^NoNewPrivs:.//p; s/^CapEff:.//p' /proc/self/status
  cat /proc/sys/kernel/hostname > /dev/null && (echo x > /proc/sys/kernel/hostname) 2>&1 | sed 's/.*: //'
  ls /sys/firmware | wc -l
  cat /etc/hosts`;

for (const name of readdirSync(FOLDER)) {
  test(`${basename(name, ".json")}`, () => {
    const given = read(name);
    const sandbox = given.linux.namespaces.some((namespace) => namespace.path) ? started() : undefined;
    const b = bundle((config, at) => {
      for (const key of Object.keys(config)) delete config[key as keyof Config];
      Object.assign(config, localised(given, at, sandbox));
    });
    const [hostname, capabilities, noNewPrivileges, refusal, firmware, hosts] = mustSucceed(run(b)).stdout.split("\n");
    if (given.hostname !== undefined) expect(hostname).toBe(given.hostname);
    expect(capabilities).toBe(mask(given));
    expect(noNewPrivileges).toBe(given.process.noNewPrivileges === true ? "1" : "0");
    expect(refusal).toBe("Read-only file system");
    expect(firmware).toBe("0");
    expect(hosts).toBe(given.mounts.some(({ destination }) => destination === "/etc/hosts") ? "from hosts" : "own");
    if (given.hooks !== undefined) expect(hookState(b)).toMatchObject({ id: b.id, status: expect.any(String) });
  });
}

test("the configs are of more than one engine", () => {
  expect(readdirSync(FOLDER).length).toBeGreaterThanOrEqual(5);
});

function read(name: string): Config {
  return JSON.parse(readFileSync(`${FOLDER}/${name}`, "utf8")) as Config;
}

/** The config with nothing of the engine's machine in it; everything else stays. */
function localised(config: Config, at: Pick<Bundle, "id" | "dir" | "rootfs">, sandbox: Bundle | undefined): Config {
  writeFileSync(`${at.rootfs}/etc/hosts`, "own\n");
  config.root.path = "rootfs";
  config.process.args = ["sh", "-c", SCRIPT];
  config.linux.cgroupsPath = `/${at.id}`;
  for (const mount of config.mounts) if (mount.type === "bind") mount.source = source(mount, at.dir);
  for (const namespace of config.linux.namespaces) {
    if (namespace.path)
      namespace.path = `/proc/${pidOf(sandbox!)}/ns/${basename(namespace.path).replace(/^netns-.*/, "net")}`;
  }
  for (const hooks of Object.values(config.hooks ?? {})) for (const hook of hooks) hook.path = hookScript(at.dir);
  return config;
}

/** A file where engines bind a file, otherwise a directory. */
function source({ destination }: Mount, dir: string): string {
  const path = `${dir}/source-${destination.replaceAll("/", "-")}`;
  const isFile = /^\/etc\/|\.containerenv$|termination-log$/.test(destination);
  if (isFile) writeFileSync(path, `from ${basename(destination)}\n`);
  else mkdirSync(path);
  return path;
}

/** Keeps the state that a hook is given. */
function hookScript(dir: string): string {
  const path = `${dir}/hook`;
  writeFileSync(path, `#!/bin/sh\nexec cat > ${dir}/hook-state\n`);
  chmodSync(path, 0o755);
  return path;
}

function hookState(b: Bundle): unknown {
  return JSON.parse(readFileSync(`${b.dir}/hook-state`, "utf8"));
}

function pidOf(b: Bundle): number {
  return (JSON.parse(mustSucceed(state(b)).stdout) as { pid: number }).pid;
}

/** The numbers of linux/capability.h for what these configs name. */
const CAPABILITIES =
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP";

function mask(config: Config): string {
  const names = CAPABILITIES.split(" ").map((name) => `CAP_${name}`);
  const bits = (config.process.capabilities?.effective ?? []).map((name) => 1n << BigInt(names.indexOf(name)));
  return bits
    .reduce((all, bit) => all | bit, 0n)
    .toString(16)
    .padStart(16, "0");
}
