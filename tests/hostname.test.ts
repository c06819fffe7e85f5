import { expect } from "bun:test";
import { hostname } from "node:os";
import { share } from "./helpers/config.ts";
import { suite } from "./helpers/suite.ts";

const { test, see, refusal } = suite("hostname");

test("hostname is what the container sees", () => {
  expect(see("hostname; cat /proc/sys/kernel/hostname", (config) => (config.hostname = "a-name"))).toBe(
    "a-name\na-name",
  );
});

test("the host keeps its name", () => {
  const before = hostname();
  see("hostname", (config) => (config.hostname = "another-name"));
  expect(hostname()).toBe(before);
});

test("without hostname the container has the host's", () => {
  const host = hostname();
  expect(see("hostname", (config) => delete config.hostname)).toBe(host);
});

test("domainname is what the container sees", () => {
  expect(see("cat /proc/sys/kernel/domainname", (config) => (config.domainname = "a.domain"))).toBe("a.domain");
});

test("hostname without a UTS namespace is refused", () => {
  const stderr = refusal((config) => {
    share(config, "uts");
  });
  expect(stderr).toContain("unable to set hostname without a private UTS namespace");
});

test("domainname without a UTS namespace is refused", () => {
  const stderr = refusal((config) => {
    delete config.hostname;
    config.domainname = "a.domain";
    share(config, "uts");
  });
  expect(stderr).toContain("unable to set domainname without a private UTS namespace");
});

test("without a UTS namespace and a hostname the container has the host's", () => {
  const host = hostname();
  const seen = see("hostname", (config) => {
    delete config.hostname;
    share(config, "uts");
  });
  expect(seen).toBe(host);
});

test("a hostname of 65 bytes, one more than the kernel takes, is refused", () => {
  expect(refusal((config) => (config.hostname = "n".repeat(65)))).toMatch(/hostname/);
});
