/** process.execCPUAffinity: the processors of a process that exec adds, with and without a cpuset around it. */
import { expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { missingController } from "./helpers/cgroup-files.ts";
import type { Process } from "./helpers/config.ts";
import { type Bundle, mustFail, mustSucceed, RUNTIME_NAME, suite } from "./helpers/suite.ts";

const { test, started, exec } = suite("exec-affinity");

type Affinity = NonNullable<Process["execCPUAffinity"]>;

const oldRuntime = RUNTIME_NAME !== "tsrun" && `${RUNTIME_NAME} here is older than execCPUAffinity`;
const options = { skip: oldRuntime || (cpus().length < 2 && "there is only one processor") };
const withCpuset = { skip: options.skip || missingController("cpuset") };

const ALLOWED = ["/bin/sh", "-c", "grep ^Cpus_allowed_list /proc/self/status | cut -f 2"];

function container(affinity?: Affinity, processors?: string): Bundle {
  return started((config) => {
    if (affinity !== undefined) config.process.execCPUAffinity = affinity;
    if (processors !== undefined) config.linux.resources = { cpu: { cpus: processors } };
  });
}

/** exec of a process.json with this affinity. */
function execWith(b: Bundle, affinity: Affinity | undefined) {
  const process = { ...b.config.process, args: ALLOWED, execCPUAffinity: affinity };
  writeFileSync(`${b.dir}/process.json`, JSON.stringify(process));
  return exec(b, [], { flags: ["--process", `${b.dir}/process.json`] });
}

const allowed = (b: Bundle) => mustSucceed(exec(b, ALLOWED)).stdout.trim();

for (const processor of ["0", "1"]) {
  test(
    `final ${processor}`,
    () => {
      expect(allowed(container({ final: processor }))).toBe(processor);
      expect(allowed(container({ initial: "0-1", final: processor }))).toBe(processor);
      expect(allowed(container({ initial: processor === "0" ? "1" : "0", final: processor }))).toBe(processor);
    },
    options,
  );
}

test(
  "final may be more than initial",
  () => {
    expect(allowed(container({ initial: "0", final: "0-1" }))).toBe("0-1");
  },
  options,
);

test(
  "initial without final is only for the way there",
  () => {
    expect(allowed(container({ initial: "0" }))).toBe(allowed(container()));
  },
  options,
);

test(
  "a process.json has its own",
  () => {
    const b = container({ final: "0" });
    expect(mustSucceed(execWith(b, { final: "1" })).stdout.trim()).toBe("1");
    expect(allowed(b)).toBe("0");
  },
  options,
);

test(
  "a process.json without one has the container's",
  () => {
    expect(mustSucceed(execWith(container({ final: "1" }), undefined)).stdout.trim()).toBe("1");
  },
  options,
);

test(
  "final within the container's cpuset",
  () => {
    const b = container({ initial: "0", final: "1" }, "0-1");
    expect(allowed(b)).toBe("1");
  },
  withCpuset,
);

test(
  "final of which the container's cpuset has a part",
  () => {
    expect(allowed(container({ final: "0-1" }, "1"))).toBe("1");
  },
  withCpuset,
);

test(
  "initial outside of the container's cpuset is only for the way there",
  () => {
    expect(allowed(container({ initial: "0", final: "1" }, "1"))).toBe("1");
  },
  withCpuset,
);

test(
  "final outside of the container's cpuset is refused by name",
  () => {
    const b = container({ final: "1" }, "0");
    mustFail(exec(b, ALLOWED), /processors "1".*process\.execCPUAffinity\.final/, 255);
  },
  withCpuset,
);

test(
  "without one, all of the container's cpuset",
  () => {
    expect(allowed(container(undefined, "1"))).toBe("1");
  },
  withCpuset,
);

for (const list of ["a", "0-", "1-0", "-1", "99999999"]) {
  test(
    `a list such as ${JSON.stringify(list)} is refused by name`,
    () => {
      const b = container();
      const result = execWith(b, { final: list });
      mustFail(result, /execCPUAffinity\.final/, 255);
    },
    options,
  );
}
