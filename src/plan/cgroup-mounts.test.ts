import { expect, test } from "bun:test";
import type { HostFacts } from "../host/facts.ts";
import { planMounts } from "./mounts.ts";
import { printProgram, testContext } from "./test-printer.ts";

const hybrid: HostFacts["cgroup"] = {
  mode: "hybrid",
  hierarchies: [
    { version: 1, controllers: ["cpu", "cpuacct"], mount: "/sys/fs/cgroup/cpu,cpuacct", own: "/" },
    { version: 1, controllers: ["name=systemd"], mount: "/sys/fs/cgroup/systemd", own: "/" },
    { version: 2, controllers: [], mount: "/sys/fs/cgroup/unified", own: "/" },
  ],
};

const paths = new Map([
  ["/sys/fs/cgroup", "/sys/fs/cgroup/test"],
  ["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/test"],
  ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/test"],
]);

function lines(types: string[], facts: Partial<HostFacts> = {}, options = ["nosuid", "ro"]): string[] {
  const namespaces = types.map((type) => ({ type: type as "mount" }));
  const mounts = [{ destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options }];
  const context = { ...testContext({ mounts, linux: { namespaces } }, facts), cgroupPaths: paths };
  planMounts(context);
  return printProgram(context.build);
}

test("unified, with a cgroup namespace: the hierarchy itself, else the container's cgroup", () => {
  const own = lines(["mount", "cgroup"]);
  expect(own).toContain(
    `$context of cgroup2 = fsopen("cgroup2", 1) ? EPERM EBUSY →${own.indexOf("close($context of cgroup2) ? EBADF")}`,
  );
  expect(own).toContain('fsconfig($context of cgroup2, 1, "source", "cgroup", 0)');
  expect(own.some((line) => line.startsWith("$mount of /sys/fs/cgroup = fsmount($context of cgroup2, 1, 3)"))).toBe(
    true,
  );
});

test("unified, without a cgroup namespace: cgroup2 is never mounted, the host's is bound", () => {
  const bound = lines(["mount"]);
  expect(bound.join()).not.toContain("fsopen");
  expect(bound).toContain('$mount of /sys/fs/cgroup = open_tree(-100, "/sys/fs/cgroup", 0x80001)');
  expect(bound).toContain('mount_setattr($mount of /sys/fs/cgroup, "", 0x1000, {3, 0, 0, 0}, 0x20)');
});

test("someone's user without a cgroup namespace gets it read-only, asked or not (CVE-2023-25809)", () => {
  const readOnly = 'mount_setattr($mount of /sys/fs/cgroup, "", 0x1000, {1, 0, 0, 0}, 0x20)';
  expect(lines(["mount", "user"], {}, [])).toContain(readOnly);
  expect(lines(["mount"], { inUserNamespace: true }, [])).toContain(readOnly);
  expect(lines(["mount"], {}, [])).not.toContain(readOnly);
});

test("hybrid: a directory for each hierarchy, symlinks for those that share one, read-only last", () => {
  const all = lines(["mount", "cgroup"], { cgroup: hybrid });
  expect(all.filter((line) => line.startsWith("mkdirat($mount"))).toEqual([
    'mkdirat($mount of tmpfs, "cpu,cpuacct", 0x1ed)',
    'mkdirat($mount of tmpfs, "systemd", 0x1ed)',
    'mkdirat($mount of tmpfs, "unified", 0x1ed)',
  ]);
  expect(all).toContain('fsconfig($context of cgroup, 0, "cpuacct", 0, 0)');
  expect(all).toContain('fsconfig($context of cgroup, 1, "name", "systemd", 0)');
  expect(all).toContain('$context of cgroup2 = fsopen("cgroup2", 1)');
  expect(all).toContain("$mount of cgroup = fsmount($context of cgroup, 1, 0xf)");
  expect(all.filter((line) => line.startsWith("symlinkat"))).toEqual([
    'symlinkat("cpu,cpuacct", $mount of tmpfs, "cpu") ? EEXIST',
    'symlinkat("cpu,cpuacct", $mount of tmpfs, "cpuacct") ? EEXIST',
  ]);
  expect(all.at(-2)).toBe('mount_setattr($mount of tmpfs, "", 0x1000, {1, 0, 0, 0}, 0x20)');
});

test("hybrid, without a cgroup namespace: only hierarchies that the container has a cgroup in", () => {
  const all = lines(["mount"], { cgroup: hybrid });
  expect(all.filter((line) => line.startsWith("$cgroup"))).toEqual([
    '$cgroup /sys/fs/cgroup/cpu,cpuacct/test = open_tree(-100, "/sys/fs/cgroup/cpu,cpuacct/test", 0x80001)',
    '$cgroup /sys/fs/cgroup/unified/test = open_tree(-100, "/sys/fs/cgroup/unified/test", 0x80001)',
  ]);
});
