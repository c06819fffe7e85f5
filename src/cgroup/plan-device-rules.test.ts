import { expect, test } from "bun:test";
import { printProgram } from "../plan/print.ts";
import { program, slotTable } from "../plan/step.ts";
import { deviceModel } from "./device-rules.ts";
import { planDeviceRules } from "./plan-device-rules.ts";

function listed(programs: readonly number[]): string[] {
  const list = program("devices");
  const { model } = deviceModel(undefined);
  planDeviceRules({ prepare: list, restrict: list, slots: slotTable() }, { version: 2, path: "/c", programs }, model);
  return printProgram(list).map(({ call, args }) => `${call}(${args.join(", ")})`);
}

test("bpf(2) as strace shows it: load and attach", () => {
  const [load, , attach] = listed([]);
  expect(load).toMatch(
    /^bpf\(BPF_PROG_LOAD, \{prog_type=BPF_PROG_TYPE_CGROUP_DEVICE, insn_cnt=\d+, insns=\{\.\.\.\}, license="Apache-2\.0", log_level=0, log_size=0, log_buf=NULL, kern_version=KERNEL_VERSION\(0, 0, 0\), prog_flags=0, prog_name="tsrun_devices", prog_ifindex=0, expected_attach_type=BPF_CGROUP_DEVICE\}, 72\)$/,
  );
  expect(attach).toBe(
    "bpf(BPF_PROG_ATTACH, {target_fd=<cgroup directory>, attach_bpf_fd=<device program>, attach_type=BPF_CGROUP_DEVICE, attach_flags=BPF_F_ALLOW_MULTI}, 16)",
  );
});

test("one program is replaced in one go", () => {
  expect(
    listed([17])
      .filter((line) => line.startsWith("bpf"))
      .slice(1),
  ).toEqual([
    "bpf(BPF_PROG_GET_FD_BY_ID, {prog_id=17, next_id=0, open_flags=0}, 12)",
    "bpf(BPF_PROG_ATTACH, {target_fd=<cgroup directory>, attach_bpf_fd=<device program>, attach_type=BPF_CGROUP_DEVICE, attach_flags=BPF_F_ALLOW_MULTI|BPF_F_REPLACE, replace_bpf_fd=<device program 17>}, 24)",
  ]);
});

test("of several, the new one is there before the old ones go", () => {
  const commands = listed([17, 18]).map((line) => /BPF_PROG_\w+/.exec(line)?.[0]);
  expect(commands.filter((each) => each !== undefined)).toEqual([
    "BPF_PROG_LOAD",
    "BPF_PROG_GET_FD_BY_ID",
    "BPF_PROG_GET_FD_BY_ID",
    "BPF_PROG_ATTACH",
    "BPF_PROG_DETACH",
    "BPF_PROG_DETACH",
  ]);
});

test("a cgroup that is to allow all and has no program gets none", () => {
  const list = program("devices");
  const { model } = deviceModel([{ allow: true }]);
  const programs = { prepare: list, restrict: list, slots: slotTable() };
  planDeviceRules(programs, { version: 2, path: "/c", programs: [] }, model);
  expect(list.steps).toEqual([]);
});

test("v1: each file is opened once, and each rule named", () => {
  const list = program("devices");
  const { model } = deviceModel([{ allow: true, type: "c", major: 10, minor: 229, access: "wr" }]);
  const current = { allowsByDefault: true, exceptions: [] };
  planDeviceRules({ prepare: list, restrict: list, slots: slotTable() }, { version: 1, path: "/c", current }, model);
  expect(list.steps.filter(({ call }) => call === "openat").map(({ args }) => args[1])).toEqual([
    "/c/devices.deny",
    "/c/devices.allow",
  ]);
  const rule = list.steps.find(({ args }) => args[1] === "c 10:229 rw")!;
  expect([rule.pointer, rule.what, rule.tolerate]).toEqual([
    "/linux/resources/devices/0",
    'allow device "c 10:229 rw": write to "/c/devices.allow"',
    undefined,
  ]);
  expect(list.steps.find(({ args }) => args[1] === "c 10:200 rwm")!.tolerate).toEqual(["EPERM"]);
});
