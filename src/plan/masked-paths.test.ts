import { expect, test } from "bun:test";
import { planMaskedPaths, planReadonlyPaths } from "./masked-paths.ts";
import { planMounts } from "./mounts.ts";
import { printProgram, testContext } from "./test-printer.ts";

const namespaces = [{ type: "mount" as const }];

test("a masked path: the null device, or the empty directory", () => {
  const context = testContext({ linux: { namespaces, maskedPaths: ["/proc/kcore", "/proc//kcore/"] } });
  planMaskedPaths(context);
  expect(printProgram(context.build)).toEqual([
    '$the host\'s /dev/null = openat(-100, "/dev/null", 0x280000, 0)',
    'newfstatat($the host\'s /dev/null, "", &$stat of /dev/null, word 0, 0x1000)',
  ]);
  const lines = printProgram(context.enter);
  const at = lines.findIndex((line) => line.startsWith("$masked /proc/kcore"));
  expect(lines.slice(at)).toEqual([
    `$masked /proc/kcore = openat2($rootfs, "proc/kcore", {0x280000, 0, 0x12}, 0x18) ? ENOENT ENOTDIR →${at + 8}`,
    '$mask of /proc/kcore = open_tree($the host\'s /dev/null, "", 0x81001)',
    `move_mount($mask of /proc/kcore, "", $masked /proc/kcore, "", 0x44) ? EINVAL →${at + 3} 0→${at + 8}`,
    `$mask of the directory /proc/kcore = open_tree($empty directory, attached, "", 0x81001) ? EBADF →${at + 6}`,
    'move_mount($mask of the directory /proc/kcore, "", $masked /proc/kcore, "", 0x44)',
    `close($mask of the directory /proc/kcore) 0→${at + 8}`,
    'move_mount($mount of tmpfs, "", $masked /proc/kcore, "", 0x44)',
    "$empty directory, attached = fcntl($mount of tmpfs, 0x406, 0)",
    "close($the host's /dev/null)",
    "close($mount of tmpfs)",
    "close($empty directory, attached) ? EBADF",
  ]);
  expect(context.checks).toMatchObject([{ path: "/dev/null", major: 1, minor: 3 }]);
  expect(lines).toContain("$mount of tmpfs = fsmount($context of tmpfs, 1, 1)");
});

test("a read-only path is bound on itself, read-only before anyone sees it", () => {
  const context = testContext({ linux: { namespaces, readonlyPaths: ["/proc/sys"] } });
  planReadonlyPaths(context);
  expect(printProgram(context.enter)).toEqual([
    '$read-only /proc/sys = openat2($rootfs, "proc/sys", {0x280000, 0, 0x12}, 0x18) ? ENOENT ENOTDIR →4',
    '$copy of /proc/sys = open_tree($read-only /proc/sys, "", 0x89001)',
    'mount_setattr($copy of /proc/sys, "", 0x1000, {1, 0, 0, 0}, 0x20)',
    'move_mount($copy of /proc/sys, "", $read-only /proc/sys, "", 0x44)',
  ]);
});

test("what is in /proc and /sys is looked for in what was mounted there, and not by way of the root", () => {
  const mounts = [
    { destination: "/proc", type: "proc" },
    { destination: "/sys", type: "bind", source: "/sys", options: ["rbind"] },
  ];
  const linux = {
    namespaces,
    maskedPaths: ["/proc/kcore", "/proc", "/key"],
    readonlyPaths: ["/sys/fs/x", "/proc/sys"],
  };
  const context = testContext({ mounts, linux });
  planMounts(context);
  planMaskedPaths(context);
  planReadonlyPaths(context);
  const opened = printProgram(context.enter).filter((line) => line.includes("openat2"));
  expect(opened.map((line) => / = (openat2\([^{]*)/.exec(line)?.[1])).toEqual([
    'openat2($mount of proc, "kcore", ',
    'openat2($rootfs, "proc", ',
    'openat2($rootfs, "key", ',
    'openat2($source /sys, "fs/x", ',
    'openat2($mount of proc, "sys", ',
  ]);
  const open = ["mount of proc", "source /sys"].filter(
    (name) => !printProgram(context.build).includes(`close($${name})`),
  );
  expect(open).toHaveLength(2);
});

test("a later mount on the same place takes the other's part", () => {
  const mounts = [
    { destination: "/sys", type: "sysfs" },
    { destination: "/sys", type: "tmpfs", options: ["tmpcopyup"] },
  ];
  const context = testContext({ mounts, linux: { namespaces } });
  planMounts(context);
  expect(context.kernelMounts.get("/sys")?.name).toBe("mount of tmpfs");
  const covered = testContext({
    mounts: [
      { destination: "/dev/pts", type: "devpts" },
      { destination: "/dev", type: "tmpfs" },
    ],
  });
  planMounts(covered);
  expect(covered.kernelMounts.get("/dev/pts")).toBeUndefined();
});

test("without a mount namespace the host's own /proc would be hidden", () => {
  const context = testContext({ linux: { namespaces: [], maskedPaths: ["/x"], readonlyPaths: ["/y"] } });
  expect(() => planMaskedPaths(context)).toThrow("without a private MNT namespace (linux.maskedPaths)");
  expect(() => planReadonlyPaths(context)).toThrow("without a private MNT namespace (linux.readonlyPaths)");
});

test("nothing is opened for empty lists", () => {
  const context = testContext({ linux: { namespaces, maskedPaths: [] } });
  planMaskedPaths(context);
  planReadonlyPaths(context);
  expect(context.build.steps.length + context.enter.steps.length).toBe(0);
});

test("what was opened for very many paths is closed", () => {
  const many = Array.from({ length: 65 }, (_, i) => `/p/${i}`);
  const context = testContext({ linux: { namespaces, maskedPaths: many, readonlyPaths: many } });
  planMaskedPaths(context);
  planReadonlyPaths(context);
  const lines = printProgram(context.enter);
  for (const name of ["masked", "mask of", "read-only", "copy of"]) expect(lines).toContain(`close($${name} /p/64)`);
});
