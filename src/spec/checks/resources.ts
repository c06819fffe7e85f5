import { pointerPart } from "../../errors.ts";
import type { Resources } from "../types.ts";
import { addFault, type ConfigCheck, type Report } from "./report.ts";

/** config-linux.md "Control groups", but for device rules. */
export const resourcesMakeSense: ConfigCheck = ({ linux }, report) => {
  const resources = linux?.resources;
  if (resources === undefined) return;
  checkResources(resources, "/linux/resources", report);
  if (resources.memory !== undefined) checkSwapLimit(resources.memory, "/linux/resources/memory", report);
};

/** What the resources alone tell; a change to other ones may be checked with it too. `at` is where they are. */
export function checkResources(resources: Resources, at: string, report: Report): void {
  const { memory, cpu, blockIO, network, rdma, unified } = resources;
  if (memory !== undefined) checkMemory(memory, `${at}/memory`, report);
  if (cpu !== undefined) checkBurst(cpu, `${at}/cpu`, report);
  if (blockIO !== undefined) checkBlockIO(blockIO, `${at}/blockIO`, report);
  for (const [i, { name }] of (network?.priorities ?? []).entries()) {
    checkName(name, `${at}/network/priorities/${i}/name`, report);
  }
  for (const device of Object.keys(rdma ?? {})) checkName(device, `${at}/rdma/${pointerPart(device)}`, report);
  for (const file of Object.keys(unified ?? {})) checkUnifiedFile(file, `${at}/unified/${pointerPart(file)}`, report);
}

type Integer = number | bigint;
type Memory = NonNullable<Resources["memory"]>;

function checkMemory(memory: Memory, at: string, report: Report): void {
  for (const name of ["limit", "reservation", "swap", "kernel", "kernelTCP"] as const) {
    const value = memory[name];
    if (value === undefined || value >= -1) continue;
    addFault(report, `${at}/${name}`, `found ${value}`, "a number of bytes, or -1 for no limit");
  }
  const { swappiness } = memory;
  if (swappiness === undefined || swappiness <= 100) return;
  // The text is runc's.
  const found = `invalid memory swappiness value: ${swappiness} (valid range is 0-100)`;
  addFault(report, `${at}/swappiness`, found);
}

/** swap counts memory too: without a limit of that, or with a larger one, it says nothing. The texts are runc's. */
function checkSwapLimit({ limit, swap }: Memory, at: string, report: Report): void {
  if (!isPositive(swap)) return;
  if (limit === undefined || Number(limit) === 0) {
    addFault(report, `${at}/swap`, "unable to set swap limit without memory limit");
  } else if (swap < limit) addFault(report, `${at}/swap`, "memory+swap limit should be >= memory limit");
}

function isPositive(value: Integer | undefined): value is Integer {
  return value !== undefined && value > 0;
}

/** The kernel would refuse the quota, which is written later. */
function checkBurst({ quota, burst }: NonNullable<Resources["cpu"]>, at: string, report: Report): void {
  if (!isPositive(quota) || burst === undefined || burst <= quota) return;
  addFault(report, `${at}/burst`, `found ${burst}`, `no more than the quota, ${quota}`);
}

function checkBlockIO(blockIO: NonNullable<Resources["blockIO"]>, at: string, report: Report): void {
  checkWeights(blockIO, at, report);
  for (const [i, device] of (blockIO.weightDevice ?? []).entries()) {
    checkWeights(device, `${at}/weightDevice/${i}`, report);
  }
}

interface Weights {
  readonly weight?: number | undefined;
  readonly leafWeight?: number | undefined;
}

function checkWeights(weights: Weights, at: string, report: Report): void {
  for (const name of ["weight", "leafWeight"] as const) {
    const value = weights[name] ?? 0;
    if (value === 0 || (value >= 10 && value <= 1000)) continue;
    addFault(report, `${at}/${name}`, `found ${value}`, "10 to 1000");
  }
}

/** It becomes part of a line, before a space. */
function checkName(name: string, at: string, report: Report): void {
  if (!/^[^\s/]+$/.test(name))
    addFault(report, at, `found ${JSON.stringify(name)}`, "a name without spaces and slashes");
}

/** The first text is one that callers know from runc. */
function checkUnifiedFile(file: string, at: string, report: Report): void {
  if (file.includes("/")) {
    addFault(report, at, `unified resource ${JSON.stringify(file)} must be a file name (no slashes)`);
  } else if (!/^[a-z_]+\../.test(file)) {
    addFault(report, at, `unified resource ${JSON.stringify(file)} must be in the form CONTROLLER.PARAMETER`);
  }
}
