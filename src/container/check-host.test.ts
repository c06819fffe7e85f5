import { expect, test } from "bun:test";
import type { HostFacts } from "../host/facts.ts";
import { testFacts } from "../plan/test-printer.ts";
import type { Config, User } from "../spec/types.ts";
import { checkWithoutRoot } from "./check-host.ts";

function check(linux: Config["linux"], user: User = {}, facts: Partial<HostFacts> = {}): void {
  const someone = testFacts({ euid: 1000, egid: 1000, effectiveCapabilities: 0n, ...facts });
  checkWithoutRoot({ ociVersion: "1.3.0", process: { args: ["true"], cwd: "/", user }, linux }, someone);
}

const own: Config["linux"] = {
  namespaces: [{ type: "user" }],
  gidMappings: [{ containerID: 0, hostID: 1000, size: 1 }],
};

test("without root there has to be a user namespace", () => {
  const error = "a container without root needs a user namespace (linux.namespaces)";
  expect(() => check({ namespaces: [{ type: "mount" }] })).toThrow(error);
  expect(() => check(undefined)).toThrow(error);
  expect(() => check(own)).not.toThrow();
  expect(() => check({ namespaces: [{ type: "user", path: "/u" }] })).not.toThrow();
  expect(() => check(undefined, {}, { effectiveCapabilities: 0x1ffffffffffn })).not.toThrow();
});

test("additional groups need more group ids than one's own", () => {
  const groups = { additionalGids: [5, 6] };
  expect(() => check(own, groups)).toThrow(
    /^cannot set the additional groups \[5 6\]: .*\(process\.user\.additionalGids\)$/,
  );
  expect(() => check(own, { gid: 5, additionalGids: [5] })).not.toThrow();
  const more = { ...own, gidMappings: [{ containerID: 0, hostID: 100000, size: 10 }] };
  expect(() => check(more, groups)).not.toThrow();
});
