/** An ordinary user's podman, with subordinate ids. */
import { expect } from "bun:test";
import { sh, success } from "../lib/commands.ts";
import { V2_ONLY } from "../lib/runtimes.ts";
import { commonTests } from "./common.ts";
import { podman } from "./lanes.ts";

const differences = new Map([
  [
    "cgroups that are in sight of a container that has none of its own (v1)",
    "runc shows the caller's, which on this machine are all there are",
  ],
]);

const { test } = podman({ who: "user" }, V2_ONLY ? new Map() : differences);

test("the user namespace: the user is root, others are subordinate ids", async ({ output, engine }) => {
  const [first, second] = (await output(sh("cat /proc/self/uid_map; readlink /proc/self/ns/user"))).split("\n");
  expect(first!.trim().split(/\s+/)).toEqual(["0", `${engine.uid}`, "1"]);
  expect(second!.trim().split(/\s+/)[0]).toBe("1");
});

test("--userns=keep-id: the user has its own number inside", async ({ output, engine }) => {
  expect(await output(sh("id -u; touch /tmp/x; stat -c %u /tmp/x"), ["--userns", "keep-id"])).toBe(
    `${engine.uid}\n${engine.uid}\n`,
  );
});

test("--userns=auto and --uidmap: a user namespace inside the user's", async ({ output, note }) => {
  note("auto", await output(sh("id -u; wc -l < /proc/self/uid_map"), ["--userns", "auto"]));
  const flags = ["--uidmap", "0:1000:500", "--gidmap", "0:1000:500", "--user", "7"];
  expect(await output(sh("id -u; cat /proc/self/uid_map | tr -s ' '"), flags)).toBe("7\n 0 1000 500\n");
});

test("networks: the host's, slirp4netns with a port that is published", async ({ output, started, engine, podman }) => {
  expect(await output(["readlink", "/proc/self/ns/net"], ["--network", "host"])).toBe(
    success(await engine.here(["readlink", "/proc/self/ns/net"])).stdout,
  );
  const serve = sh("mkdir /tmp/www; echo served > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www");
  const id = await started(serve, ["--network", "slirp4netns", "--publish", "127.0.0.1:18080:8080"]);
  const fetched = await engine.here(["busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:18080/index.html"]);
  expect(success(fetched).stdout).toBe("served\n");
  success(await podman("rm", "--force", "--time", "0", id));
});

if (!V2_ONLY) {
  test("cgroups that are in sight of a container that has none of its own (v1)", async ({ output, note }) => {
    note("mounts", await output(sh("cut -d' ' -f2 /proc/mounts | grep ^/sys/fs/cgroup/ | sort")));
  });
}

commonTests(test);
