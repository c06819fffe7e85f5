/**
 * Labels under a policy of a few lines (selinux.cil), enforced. SELinux and AppArmor exclude each other, so this is for a
 * guest that is started with the one in place of the other: GUEST_BOOT="security=selinux selinux=1 apparmor=0".
 */
import { dlopen } from "bun:ffi";
import { expect } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { command } from "../helpers/command.ts";
import { type Config, unshare } from "../helpers/config.ts";
import { type Bundle, type Change, mustFail, mustSucceed, RUNTIME_NAME, suite } from "../helpers/suite.ts";
import { writeSyscallProgram } from "../helpers/syscall-program.ts";

const { test, testsElsewhere, see, started, exec, runtime, status, refusal, bundle, run } = suite("selinux");

const HOST = "u:r:host_t:s0";
const CONTAINER = "u:r:container_t:s0:c1,c2";
const OTHER = "u:r:other_t:s0";
const FILES = "u:r:container_file_t:s0:c1,c2";
const SECRET = "u:r:secret_t:s0";

const ATTRIBUTE = Buffer.from("security.selinux\0");
const libc = () =>
  dlopen("libc.so.6", {
    setxattr: { args: ["ptr", "ptr", "ptr", "u64", "i32"], returns: "i32" },
    getxattr: { args: ["ptr", "ptr", "ptr", "u64"], returns: "i64" },
  }).symbols;

function labelFile(path: string, label: string): void {
  const value = Buffer.from(label);
  const result = libc().setxattr(Buffer.from(`${path}\0`), ATTRIBUTE, value, value.length, 0);
  if (result !== 0) throw new Error(`cannot label ${path}`);
}

function labelOfFile(path: string): string {
  const value = Buffer.alloc(256);
  const length = Number(libc().getxattr(Buffer.from(`${path}\0`), ATTRIBUTE, value, value.length));
  if (length < 0) throw new Error(`${path} has no label`);
  return value.toString("utf8", 0, length).replaceAll("\0", "");
}

/** The kernel wants the policy in one write(2). */
function enforce(): void {
  const home = "/sys/fs/selinux";
  if (!existsSync(`${home}/load`)) mustSucceed(command(["mount", "-t", "selinuxfs", "none", home]));
  writeFileSync(`${home}/load`, readFileSync(resolve(import.meta.dir, "../../selinux.policy")));
  writeFileSync(`${home}/enforce`, "1");
}

const LABEL = "tr -d '\\0\\n' < /proc/self/attr/current";
const labelled =
  (more: (config: Config, rootfs: string) => void = () => {}): Change =>
  (config, { rootfs }) => {
    config.process.selinuxLabel = CONTAINER;
    more(config, rootfs);
  };
const pidOf = (b: Bundle): number => JSON.parse(mustSucceed(runtime(["state", b.id])).stdout).pid;

const tests: Readonly<Record<string, () => void>> = {
  "the process has its label, and cannot read what the policy forbids it": () => {
    const change = (label?: string) =>
      labelled((config, rootfs) => {
        writeFileSync(`${rootfs}/secret`, "secret\n", { mode: 0o644 });
        labelFile(`${rootfs}/secret`, SECRET);
        config.process.selinuxLabel = label ?? "";
      });
    const script = `${LABEL}; echo; cat /secret 2>&1; true`;
    expect(see(script, change(CONTAINER))).toMatch(
      new RegExp(`^${CONTAINER.replaceAll(".", "\\.")}\ncat: .*Permission denied$`),
    );
    expect(see(script, change())).toBe(`${HOST}\nsecret`);
  },

  "a user without capabilities, no_new_privs and a seccomp filter": () => {
    const seen = see(
      LABEL,
      labelled((config) => {
        config.process.user = { uid: 1000, gid: 1000 };
        config.process.capabilities = {};
        config.process.noNewPrivileges = true;
        config.linux.seccomp = { defaultAction: "SCMP_ACT_ALLOW" };
      }),
    );
    expect(seen).toBe(CONTAINER);
  },

  "in a user namespace": () => {
    const change = labelled((config) => {
      unshare(config, "user");
      config.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
      config.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
    });
    expect(see(LABEL, change)).toBe(CONTAINER);
  },

  "a label that the policy does not know, of a process": () => {
    const message = refusal((config) => (config.process.selinuxLabel = "u:r:nothing_t:s0"));
    expect(message).toMatch(/\/proc\/.*attr\/(exec|keycreate)/);
    if (RUNTIME_NAME === "tsrun") expect(message).toContain("process.selinuxLabel");
  },

  "and of mounts": () => {
    const message = refusal((config) => (config.linux.mountLabel = "u:r:nothing_t:s0"));
    expect(message).toContain("nothing_t");
    if (RUNTIME_NAME === "tsrun") expect(message).toContain("linux.mountLabel");
  },

  "exec has the container's label, or one of its own; one that is unknown leaves the container alone": () => {
    const b = started(labelled());
    const label = (...flags: string[]) => mustSucceed(exec(b, ["/bin/sh", "-c", LABEL], { flags })).stdout;
    expect(label()).toBe(CONTAINER);
    expect(label("--process-label", OTHER)).toBe(OTHER);
    const file = `${b.dir}/process.json`;
    const process = { ...b.config.process, args: ["/bin/sh", "-c", LABEL], selinuxLabel: undefined };
    writeFileSync(file, JSON.stringify(process));
    expect(mustSucceed(runtime(["exec", "--process", file, b.id])).stdout).toBe(CONTAINER);
    const result = exec(b, ["/bin/true"], { flags: ["--process-label", "u:r:nothing_t:s0"] });
    mustFail(result, "/proc/thread-self/attr/", 255);
    expect(status(b)).toBe("running");
    expect(readFileSync(`/proc/${pidOf(b)}/attr/current`, "utf8")).toStartWith(CONTAINER);
  },

  "the session keyring has the process's label": () => {
    const KEYCTL = 250;
    const GET_SECURITY = 17n;
    const SESSION_KEYRING = -3n;
    /** How long the label is, with the NUL at its end. */
    const length = (change: Change): number => {
      const b = bundle((config, at) => {
        change(config, at);
        writeSyscallProgram(`${at.rootfs}/length`, { number: KEYCTL, args: [GET_SECURITY, SESSION_KEYRING, 0n, 0n] });
        config.process.args = ["/length"];
      });
      return 256 - run(b).status;
    };
    expect(length(labelled())).toBe(CONTAINER.length + 1);
    expect(length(() => {})).toBe(HOST.length + 1);
  },

  "mountLabel: file systems of memory and terminals, masks too; not procfs and sysfs": () => {
    const b = started((config, { rootfs }) => {
      config.linux.mountLabel = FILES;
      config.linux.maskedPaths = ["/proc/sys"];
      config.mounts.push(
        { destination: "/dev/mqueue", type: "mqueue", source: "mqueue" },
        { destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro"] },
        // Options that only mount(2) knows; a context of its own.
        {
          destination: "/mnt",
          type: "overlay",
          source: "o",
          options: ["iversion", `lowerdir=${rootfs}/etc:${rootfs}/bin`],
        },
        { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: [`context=${SECRET}`] },
      );
    });
    const mounts = mustSucceed(exec(b, ["/bin/cat", "/proc/self/mounts"]))
      .stdout.trim()
      .split("\n");
    const contextOf = (path: string) => {
      const line = mounts.find((mount) => mount.split(" ")[1] === path);
      const [, quoted, plain] = /[, ]context=(?:"([^"]*)"|([^ ,]*))/.exec(line!) ?? [];
      return quoted ?? plain;
    };
    for (const path of ["/dev", "/dev/pts", "/proc/sys", "/mnt"])
      expect([path, contextOf(path)]).toEqual([path, FILES]);
    for (const path of ["/proc", "/sys", "/dev/mqueue"]) expect([path, contextOf(path)]).toEqual([path, undefined]);
    expect(contextOf("/tmp")).toBe(SECRET);
    const root = `/proc/${pidOf(b)}/root`;
    expect(labelOfFile(`${root}/dev/null`)).toBe(FILES);
    expect(labelOfFile(`${root}/dev/mqueue`)).toBe(FILES);
  },
};

if (readFileSync("/proc/filesystems", "utf8").includes("\tselinuxfs\n")) {
  enforce();
  for (const [title, body] of Object.entries(tests)) test(title, body);
} else {
  testsElsewhere(Object.keys(tests), "SELinux is off; a guest can be started with it in place of AppArmor");
}
