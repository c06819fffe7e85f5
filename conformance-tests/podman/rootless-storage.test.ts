/** An ordinary user's podman with other storage, and without subordinate ids: what the runtime is given differs. */
import { expect } from "bun:test";
import { outcome, sh, sleep, success } from "../lib/commands.ts";
import { podman } from "./lanes.ts";

const fuse = podman({ who: "user", storage: "fuse-overlayfs" });

fuse.test("fuse-overlayfs: files are copied when they are written, and are the container's alone", async (lane) => {
  const { output, run, started, exec, podman } = lane;
  const script = "echo more >> /etc/passwd; tail -1 /etc/passwd; awk '$5 == \"/\" { print $9 }' /proc/self/mountinfo";
  expect(await output(sh(script))).toMatch(/^more\nfuse/);
  expect(outcome(await run(["grep", "-c", "more", "/etc/passwd"]))).toMatchObject({ status: 1, stdout: "0\n" });
  const id = await started(sleep);
  expect(outcome(await exec(id, sh("id -u; touch /x; exit 3")))).toMatchObject({ status: 3, stdout: "0\n" });
  expect(success(await podman("diff", id)).stdout).toContain("A /x");
});

const alone = podman({ who: "user without subordinate ids" });

alone.test("without subordinate ids: one user and one group, no others", async ({ output, run, note, engine }) => {
  const seen = await output(sh("id -u; cat /proc/self/uid_map | tr -s ' '; cat /proc/self/setgroups; touch /x"));
  expect(seen).toBe(`0\n 0 ${engine.uid} 1\ndeny\n`);
  note("another user", (await run(["true"], ["--user", "1000"])).status);
  note("groups", await output(sh("grep ^Groups /proc/self/status; grep ^Cap /proc/self/status")));
});

alone.test("without subordinate ids: exec, stop, start", async ({ started, exec, podman, inspect }) => {
  const id = await started(sleep);
  expect(outcome(await exec(id, sh("echo here; exit 4")))).toMatchObject({ status: 4, stdout: "here\n" });
  success(await podman("stop", "--time", "0", id));
  success(await podman("start", id));
  expect(await inspect(id, "{{.State.Status}}")).toBe("running");
});
