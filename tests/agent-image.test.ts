import { expect } from "bun:test";
import { existsSync } from "node:fs";
import type { Change } from "./helpers/suite.ts";
import { mustSucceed, RUNTIME_NAME, suite } from "./helpers/suite.ts";

const { test, bundle, run } = suite("agent-image");

/** A process id namespace has a setting of its own (sysctl/vm.rst, memfd_noexec); the machine's stays as it is. */
const withMemfdNoexec = (value: number): string[] => [
  "unshare",
  "--pid",
  "--fork",
  "--mount-proc",
  "sh",
  "-c",
  `echo ${value} > /proc/sys/vm/memfd_noexec || exit 99; exec "$@"`,
  "sh",
];

const skip =
  RUNTIME_NAME !== "tsrun"
    ? "only tsrun has an agent"
    : existsSync("/proc/sys/vm/memfd_noexec")
      ? undefined
      : "this kernel cannot forbid executable memory";

const hooks: Change = (config, at) => {
  const hook = (name: string) => ({ path: "/bin/sh", args: ["sh", "-c", `cat > ${at.dir}/${name}`] });
  config.hooks = { createRuntime: [hook("runtime")], createContainer: [hook("container")] };
  config.process.args = ["/bin/echo", "runs"];
};

for (const value of [0, 1, 2]) {
  test(
    `vm.memfd_noexec=${value}: the agent runs, from memory or from a file, and so do hooks`,
    () => {
      const b = bundle(hooks);
      expect(mustSucceed(run(b, { through: withMemfdNoexec(value) })).stdout).toBe("runs\n");
      for (const name of ["runtime", "container"]) expect(existsSync(`${b.dir}/${name}`)).toBe(true);
    },
    { skip },
  );
}
