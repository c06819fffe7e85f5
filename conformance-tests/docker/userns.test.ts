/** --userns-remap: every container has a user namespace, and root in it is nobody outside. */
import { expect } from "bun:test";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { command, describeResult } from "../../tests/helpers/command.ts";
import { sh, sleep, success } from "../lib/commands.ts";
import type { DockerOptions } from "./engine.ts";
import { docker } from "./lanes.ts";

const FILES = ["/etc/subuid", "/etc/subgid"];

/** Ids for `nobody`, in this mount namespace only. */
function prepare(home: string): () => void {
  const mount = (...words: string[]) => {
    const result = command(words);
    if (result.status !== 0) throw new Error(describeResult(result));
  };
  for (const file of FILES) {
    const own = `${home}/${file.replaceAll("/", "_")}`;
    writeFileSync(own, "nobody:300000:65536\n");
    mount("mount", "--bind", own, file);
  }
  return () => {
    for (const file of FILES) mount("umount", file);
  };
}

const options: DockerOptions = { flags: ["--userns-remap", "nobody:nogroup"], prepare };
const { test } = docker(options);

test("the maps, and files of root in the container", async ({ started, exec, engine, pidOf, output }) => {
  expect(await output(sh("cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '"))).toBe(
    " 0 300000 65536\n 0 300000 65536\n",
  );
  const volume = `${engine.home}/shared`;
  command(["install", "-d", "-o", "300000", "-g", "300000", volume]);
  const id = await started(sh("touch /mnt/file; exec sleep 1000"), ["-v", `${volume}:/mnt`]);
  expect(success(await exec(id, sh("id -u; stat -c %u /mnt/file"))).stdout).toBe("0\n0\n");
  expect(statSync(`${volume}/file`).uid).toBe(300000);
  const status = readFileSync(`/proc/${await pidOf(id)}/status`, "utf8");
  expect(status).toMatch(/^Uid:\t300000\t300000\t300000\t300000$/m);
});

test("all capabilities, in the namespace only", async ({ output, note }) => {
  const seen = await output(
    sh("grep CapEff /proc/self/status; mount -t tmpfs x /mnt && echo mounted; mknod /tmp/x c 1 3 || echo refused"),
    [...["--cap-add", "ALL", "--security-opt", "seccomp=unconfined"]],
  );
  expect(seen).toContain("mounted\n");
  note("all", seen);
});

test("bridge and exec, volumes and limits", async ({ started, exec, docker, name }) => {
  const volume = name();
  const id = await started(sleep, ["--network", "bridge", "-v", `${volume}:/data`, "--ulimit", "core=100:200"]);
  const seen = success(
    await exec(id, sh("echo kept > /data/file && cat /data/file; grep core /proc/self/limits; ls /sys/class/net")),
  );
  expect(seen.stdout).toMatch(/^kept\nMax core file size +100 +200 +bytes *\neth0\nlo\n$/);
  success(await docker("rm", "--force", id));
});

test("--userns host: no namespace of users", async ({ output }) => {
  const host = readFileSync("/proc/self/uid_map", "utf8");
  expect(await output(["cat", "/proc/self/uid_map"], ["--userns", "host"])).toBe(host);
});
