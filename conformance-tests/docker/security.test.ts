/** What containers may do, and user namespaces. */
import { expect } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { sh, sleep, success } from "../lib/commands.ts";
import { docker } from "./lanes.ts";

const { test } = docker();

const STATUS = ["grep", "-E", "^(Cap|NoNewPrivs|Seccomp:)", "/proc/self/status"];

test("--cap-drop and --cap-add", async ({ run, output, note }) => {
  const chown = await run(sh("touch /f; chown 1 /f && echo changed"), ["--cap-drop", "CHOWN"]);
  expect(chown.stdout).toBe("");
  expect(chown.stderr).toContain("Operation not permitted");
  const mounts = sh("mount -t tmpfs x /mnt && echo mounted");
  expect((await run(mounts)).stdout).toBe("");
  expect(await output(mounts, ["--cap-add", "SYS_ADMIN"])).toBe("mounted\n");
  expect(await output(STATUS, ["--cap-drop", "ALL"])).toMatch(/^CapEff:\t0+$/m);
  note("added", await output(STATUS, ["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE", "--cap-add", "SYS_TIME"]));
});

/** Without CAP_SYS_RESOURCE in the engine's bounding set runc refuses what Docker asks for; tsrun gives what there is. */
const HAS_ALL = (readBounding() & (1n << 24n)) !== 0n;

function readBounding(): bigint {
  return BigInt(`0x${/^CapBnd:\t(\w+)$/m.exec(readFileSync("/proc/self/status", "utf8"))![1]}`);
}

test("--cap-add ALL and --privileged, as far as the machine allows", async ({ run, output, engine, note }) => {
  const most = await output(STATUS, ["--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"]);
  note("all but one", most);
  const all = await run(STATUS, ["--cap-add", "ALL"]);
  const privileged = await run(
    sh(
      "ls /dev | grep -c . ; grep -E '^(Cap|Seccomp:)' /proc/self/status; echo x > /proc/sys/kernel/hostname && hostname",
    ),
    ["--privileged"],
  );
  if (HAS_ALL) {
    note("all", [all.status, all.stdout]);
    note("privileged", [privileged.status, privileged.stdout]);
  }
  if (!HAS_ALL && engine.runtime.name === "runc") return;
  if (!HAS_ALL) expect(all.stdout).toBe(most);
  expect(privileged.stdout).toContain("Seccomp:\t0\nx\n");
});

test("unconfined system paths", async ({ output, note }) => {
  const mounts = sh(
    "grep -E ' /sys| /proc' /proc/self/mounts | grep -v cgroup | cut -d' ' -f2-4; (: < /dev/fuse) && echo opened",
  );
  const options = ["--cap-add", "SYS_ADMIN", "--security-opt", "systempaths=unconfined", "--device", "/dev/fuse"];
  const seen = await output(mounts, options);
  note("system paths", seen);
  expect(seen).toEndWith("opened\n");
});

test("an ordinary user, further groups", async ({ output, note }) => {
  const seen = await output(sh("id -u; id -g; id -G; grep Cap /proc/self/status; touch /file || echo refused"), [
    ...["--user", "1000:1000", "--group-add", "7", "--group-add", "9"],
  ]);
  expect(seen).toStartWith("1000\n1000\n1000 7 9\n");
  expect(seen).toEndWith("refused\n");
  note("user", seen);
});

test("no-new-privileges", async ({ output }) => {
  const setuid = sh("grep NoNewPrivs /proc/self/status");
  expect(await output(setuid)).toBe("NoNewPrivs:\t0\n");
  expect(await output(setuid, ["--security-opt", "no-new-privileges"])).toBe("NoNewPrivs:\t1\n");
});

test("seccomp: the default profile, none, one of one's own", async ({ engine, run, output }) => {
  const unshares = sh("grep Seccomp: /proc/self/status; unshare -U true && echo may");
  const byDefault = await run(unshares);
  expect(byDefault.stdout).toBe("Seccomp:\t2\n");
  expect(await output(unshares, ["--security-opt", "seccomp=unconfined"])).toBe("Seccomp:\t0\nmay\n");
  const profile = `${engine.home}/profile.json`;
  const architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"];
  const rule = { names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 78 };
  writeFileSync(profile, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", architectures, syscalls: [rule] }));
  const own = await run(sh("mkdir /tmp/new; ls /tmp; unshare -U true && echo may"), [
    ...["--security-opt", `seccomp=${profile}`],
  ]);
  expect(own.stderr).toContain("mkdir");
  expect(own.stdout).toBe("may\n");
});

test("seccomp holds for exec too", async ({ started, exec }) => {
  const id = await started(sleep);
  expect(success(await exec(id, STATUS)).stdout).toContain("Seccomp:\t2\n");
  expect((await exec(id, ["unshare", "-U", "true"])).status).not.toBe(0);
});

test("--read-only, with --tmpfs", async ({ run, note }) => {
  const result = await run(
    sh(
      "touch /file; touch /scratch/file && echo but /scratch is not; df -k /scratch | tail -1 | tr -s ' ' | cut -d' ' -f2",
    ),
    ["--read-only", "--tmpfs", "/scratch:size=4m,mode=700"],
  );
  expect(result.stdout).toBe("but /scratch is not\n4096\n");
  expect(result.stderr).toContain("Read-only file system");
  note("read-only", result.stderr);
});

test("masked and read-only paths", async ({ run, output, note }) => {
  const result = await run(
    sh(
      "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c; ls /sys/firmware | wc -l;" +
        "echo x > /proc/sys/kernel/hostname",
    ),
  );
  expect(result.stdout).toBe("0\n0\n");
  expect(result.stderr).toContain("Read-only file system");
  const points = "cut -d' ' -f2 /proc/self/mounts | grep -E '^/(proc|sys)' | grep -v cgroup | sort";
  note("paths", await output(sh(points)));
});

test("namespaces of cgroups: its own, and the host's", async ({ output, note }) => {
  const seen = sh("cat /proc/self/cgroup | cut -d: -f3 | sort -u");
  note("private", await output(seen, ["--cgroupns", "private"]));
  expect(await output(seen, ["--cgroupns", "private"])).toMatch(/^\/\n/);
});
