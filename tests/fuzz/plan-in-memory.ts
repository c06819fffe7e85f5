import type { Arch } from "../../src/abi/syscalls.ts";
import { SPARE } from "../../src/agent/layout.ts";
import { encodePrograms } from "../../src/agent/records.ts";
import { chooseCgroupManager } from "../../src/cgroup/choose.ts";
import { checkAgainstHost } from "../../src/container/check-host.ts";
import { lastPrograms } from "../../src/container/execute.ts";
import { listPlan } from "../../src/container/plan-listing.ts";
import { beginPlan, completePlan, continuePlan } from "../../src/container/planning.ts";
import type { HostFacts } from "../../src/host/facts.ts";
import { processEnvironment } from "../../src/plan/command.ts";
import { planHold } from "../../src/plan/container.ts";
import type { PlanContext } from "../../src/plan/context.ts";
import { stepLine } from "../../src/plan/print.ts";
import type { Program } from "../../src/plan/step.ts";
import { filterOf } from "../../src/seccomp/filter.ts";
import type { Config } from "../../src/spec/types.ts";

/** The machine that is planned for, and how. */
export interface Circumstances {
  readonly facts: HostFacts;
  readonly arch: Arch;
  readonly bundle: string;
  readonly systemd: boolean;
  readonly noPivot: boolean;
  readonly timed: boolean;
}

/** All that `tsrun plan` and `tsrun create` do with a checked config before anything is done: planned, printed, encoded. */
export function planInMemory(config: Config, circumstances: Circumstances): void {
  checkAgainstHost(config);
  const { facts, bundle, systemd, noPivot } = circumstances;
  const wish = { systemdCgroup: systemd, cgroupManager: "cgroupfs" } as const;
  const request = {
    config,
    id: "fuzz",
    bundle,
    facts,
    cgroupManager: chooseCgroupManager(wish, "system", true),
    mayGoWithoutCgroup: false,
    noPivot,
    noNewKeyring: false,
    preserveFds: 0,
    stdio: [0, 1, 2],
    console: -1,
    pidfdSocket: undefined,
    extraEnv: [],
    warn: () => {},
  };
  for (const { steps } of listPlan(request)) for (const step of steps) stepLine(step);
  const { plan } = beginPlan(request, "/proc/self/fd/3/exec.sock");
  continuePlan(request, plan);
  completePlan(request, plan);
  encode(config, plan, circumstances);
}

/** As create does: what tsrun itself has run gives its slots their values before the agent's programs are encoded. */
function encode(config: Config, plan: PlanContext, { arch, timed }: Circumstances): void {
  const encoding = { arch, socket: 100, slots: plan.slots, timed };
  const send = (...programs: readonly Program[]) => void encodePrograms(programs, encoding);
  plan.lock.value = 3;
  settle(plan.prepare);
  send(plan.unshare);
  plan.initPid.value = 1000;
  settle(plan.attach);
  send(plan.build);
  settle(plan.restrict);
  send(plan.enter, plan.identity);
  send(planHold(plan, plan.listening!, SPARE));
  const { process } = config;
  if (process === undefined) return;
  const profile = config.linux?.seccomp;
  const { filter, exec } = lastPrograms(plan.slots, {
    process,
    env: processEnvironment(process, [], () => "/root"),
    preserveFds: 0,
    pointer: "/process",
    filter:
      profile === undefined
        ? undefined
        : filterOf(profile, arch === "aarch64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64"),
    lastCapabilities: plan.lastCapabilities,
  });
  if (filter !== undefined) send(filter);
  send(exec);
}

function settle(program: Program): void {
  for (const { into } of program.steps) if (into !== undefined) into.value ??= 7;
}
