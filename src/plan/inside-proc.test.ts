import { expect, test } from "bun:test";
import { PROC_SUPER_MAGIC, TMPFS_MAGIC } from "../abi/magic.ts";
import { checkOutsideProc } from "./inside-proc.ts";
import { planMounts } from "./mounts.ts";
import { testContext } from "./test-printer.ts";

const linux = { namespaces: [{ type: "mount" as const }] };

function planned(...mounts: { destination: string; type: string; source?: string }[]) {
  const context = testContext({ mounts, linux });
  planMounts(context);
  return context;
}

test("what a volume and a new file system are mounted on is looked at, each with a slot of its own", () => {
  const { landings, build, slots } = planned(
    { destination: "/data", type: "bind", source: "/srv" },
    { destination: "/run", type: "tmpfs" },
  );
  expect(landings.list.map(({ destination }) => destination)).toEqual(["/data", "/run"]);
  const [first, second] = landings.list.map(({ type }) => type.index);
  // The kernel writes 14 words more behind each.
  expect([second! - first!, slots.next > second! + 14]).toEqual([1, true]);
  const calls = build.steps.map(({ call }) => call);
  expect(calls.indexOf("fstatfs")).toBeLessThan(calls.indexOf("move_mount"));
});

test("not where no symlink can lead: procfs itself, what may be in it, and a new /dev", () => {
  const { landings } = planned(
    { destination: "/proc", type: "proc" },
    { destination: "/proc/meminfo", type: "bind", source: "/srv/meminfo" },
    { destination: "/dev", type: "tmpfs" },
    { destination: "/dev/shm", type: "tmpfs" },
  );
  expect(landings.list.map(({ destination }) => destination)).toEqual(["/dev"]);
});

test("a mount inside procfs is refused by name; elsewhere it may be", () => {
  const { landings } = planned({ destination: "/data", type: "bind", source: "/srv" });
  landings.list[0]!.type.value = TMPFS_MAGIC;
  checkOutsideProc(landings.list);
  landings.list[0]!.type.value = PROC_SUPER_MAGIC;
  expect(() => checkOutsideProc(landings.list)).toThrow(
    'cannot mount "/srv" on "/data": "/data" cannot be mounted because it is inside /proc, where a symlink leads to (mounts[0])',
  );
});
