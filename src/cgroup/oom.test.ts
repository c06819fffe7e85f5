import { describe, expect, test } from "bun:test";
import { isKilledIn } from "./oom.ts";

const victim = (memcg: string) =>
  `6,1034,80001234,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/system.slice,task_memcg=${memcg},task=sh,pid=12,uid=0\n`;
const scope = "/sys/fs/cgroup/system.slice/tsrun-a.scope";

describe("isKilledIn", () => {
  test("a process of the cgroup, or of one below", () => {
    expect(isKilledIn(scope, [victim("/system.slice/tsrun-a.scope")])).toBe(true);
    expect(isKilledIn(scope, ["6,1,1,-;other\n", victim("/system.slice/tsrun-a.scope/init")])).toBe(true);
    expect(isKilledIn("/sys/fs/cgroup/memory/user.slice/a.scope", [victim("/user.slice/a.scope")])).toBe(true);
  });

  test("not one of another cgroup, above or beside", () => {
    for (const other of [
      "/system.slice",
      "/system.slice/tsrun-ab.scope",
      "/user.slice/tsrun-a.scope",
      "/tsrun-a.scop",
    ]) {
      expect(isKilledIn(scope, [victim(other)])).toBe(false);
    }
    expect(isKilledIn(scope, [])).toBe(false);
  });

  test("only the kernel's own line counts", () => {
    expect(isKilledIn(scope, ["6,1,1,-;program says ,task_memcg=/system.slice/tsrun-a.scope,task=\n"])).toBe(false);
  });
});
