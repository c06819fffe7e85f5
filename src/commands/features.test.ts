import { expect, test } from "bun:test";
import { parseMountOptions } from "../plan/mount-options.ts";
import { features } from "../spec/model/features.ts";
import { seccompArch, seccompFlag, seccompOperator } from "../spec/model/seccomp.ts";
import { features as reported } from "./features.ts";

test("features are as the specification has them", () => {
  expect(features.parse(reported())).toEqual(reported());
});

test("what engines look for", () => {
  const { mountOptions, linux, ociVersionMin, ociVersionMax } = reported();
  expect(mountOptions).toContain("rro");
  expect(linux?.mountExtensions?.idmap?.enabled).toBe(true);
  expect([ociVersionMin, ociVersionMax]).toEqual(["1.0.0", "1.3.0"]);
  expect(linux?.namespaces).toHaveLength(8);
  // What the build can do; whether a kernel has the module is another question (features-linux.md).
  expect([linux?.apparmor?.enabled, linux?.selinux?.enabled]).toEqual([true, true]);
});

test("seccomp: what this kernel has", () => {
  const { enabled, actions, operators, archs, knownFlags, supportedFlags } = reported().linux!.seccomp!;
  expect(enabled).toBe(true);
  expect(actions).toContain("SCMP_ACT_NOTIFY");
  expect(operators).toEqual(seccompOperator.options);
  expect(archs).toEqual(seccompArch.options);
  expect(knownFlags).toEqual(seccompFlag.options);
  expect(supportedFlags).toContain("SECCOMP_FILTER_FLAG_SPEC_ALLOW");
  expect(knownFlags).toEqual(expect.arrayContaining(supportedFlags!));
});

test("no mount option is promised that would be handed to the file system", () => {
  const unknown = reported().mountOptions?.filter((option) => parseMountOptions([option]).data.length > 0);
  expect(unknown).toEqual([]);
});
