import { expect } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Config } from "./helpers/config.ts";
import { mustFail, mustSucceed, RUNTIME_NAME, suite } from "./helpers/suite.ts";

/** What is refused, and what is not, where the kernel enforces no labels; tests/guest/apparmor.test.ts is where it does. */
const { test, see, started, exec, status, refusal, runtime } = suite("labels");

const APPARMOR = "/sys/module/apparmor/parameters/enabled";
const hasApparmor = existsSync(APPARMOR) && readFileSync(APPARMOR, "utf8").startsWith("Y");
const hasSelinux = readFileSync("/proc/filesystems", "utf8").includes("\tselinuxfs\n");
const withApparmor = { skip: hasApparmor && "AppArmor is enabled here" };
const withSelinux = { skip: hasSelinux && "SELinux is enabled here" };

for (const profile of ["docker-default", "unconfined"]) {
  test(
    `apparmorProfile ${JSON.stringify(profile)} is refused without AppArmor`,
    () => {
      const message = refusal((config) => (config.process.apparmorProfile = profile));
      expect(message).toMatch(/apparmor/i);
      if (RUNTIME_NAME === "tsrun") {
        expect(message).toContain(
          `cannot apply the AppArmor profile "${profile}": AppArmor is not enabled on this machine (process.apparmorProfile)`,
        );
        expect(message).toContain("hint: do without process.apparmorProfile");
      }
    },
    withApparmor,
  );
}

test(
  "selinuxLabel is refused without SELinux",
  () => {
    const message = refusal((config) => (config.process.selinuxLabel = "system_u:system_r:container_t:s0:c1,c2"));
    expect(message).toMatch(/selinux|attr/i);
    if (RUNTIME_NAME === "tsrun") {
      expect(message).toContain("SELinux is not enabled on this machine (process.selinuxLabel)");
    }
  },
  withSelinux,
);

test(
  "mountLabel is refused without SELinux",
  () => {
    const message = refusal((config) => (config.linux.mountLabel = "system_u:object_r:container_file_t:s0:c1,c2"));
    expect(message).toContain("system_u:object_r:container_file_t:s0:c1,c2");
    if (RUNTIME_NAME === "tsrun")
      expect(message).toContain("SELinux is not enabled on this machine (linux.mountLabel)");
  },
  withSelinux,
);

test("empty labels are none", () => {
  const seen = see("echo runs", (config) => {
    config.process.apparmorProfile = "";
    config.process.selinuxLabel = "";
    config.linux.mountLabel = "";
  });
  expect(seen).toBe("runs");
});

type Naming = (config: Config, label: string) => void;
const PROPERTIES: readonly (readonly [property: string, set: Naming])[] = [
  ["process.apparmorProfile", (config, label) => (config.process.apparmorProfile = label)],
  ["process.selinuxLabel", (config, label) => (config.process.selinuxLabel = label)],
  ["linux.mountLabel", (config, label) => (config.linux.mountLabel = label)],
];
const WRONG: readonly (readonly [what: string, label: string, text: string])[] = [
  ["a newline", "a\nb", 'found "a\\nb", should be a label without newlines'],
  ["a NUL", "a\0b", "contains nul byte (\\x00), should be text without it"],
  ["five thousand bytes", "x".repeat(5000), "found 5000 bytes, should be at most"],
];

for (const [property, set] of PROPERTIES) {
  for (const [what, label, text] of WRONG) {
    test(`${property} with ${what}`, () => {
      const message = refusal((config) => set(config, label));
      if (RUNTIME_NAME === "tsrun") {
        expect(message).toMatch(/invalid config\.json:\d+:\d+: /);
        expect(message).toContain(`${property}: ${text}`);
      }
    });
  }
}

for (const [option, module, skip] of [
  ["--apparmor", "AppArmor", withApparmor],
  ["--process-label", "SELinux", withSelinux],
] as const) {
  test(
    `exec ${option} is refused without ${module}; the container goes on`,
    () => {
      const b = started();
      const result = exec(b, ["/bin/true"], { flags: [option, "a_label"] });
      expect(result.status).not.toBe(0);
      expect(status(b)).toBe("running");
      if (RUNTIME_NAME === "tsrun")
        expect(result.stderr).toContain(`${module} is not enabled on this machine (${option})`);
      if (RUNTIME_NAME === "tsrun")
        mustFail(exec(b, ["/bin/true"], { flags: [option, "a\nb"] }), `newlines (${option})`, 255);
      mustSucceed(exec(b, ["/bin/true"], { flags: [option, ""] }));
    },
    skip,
  );
}

test(
  "exec --process with a label is refused without the module",
  () => {
    const b = started();
    const file = `${b.dir}/process.json`;
    writeFileSync(file, JSON.stringify({ ...b.config.process, args: ["/bin/true"], apparmorProfile: "p" }));
    const result = runtime(["exec", "--process", file, b.id]);
    expect(result.status).not.toBe(0);
    expect(result.stderr).toMatch(/apparmor/i);
  },
  withApparmor,
);
