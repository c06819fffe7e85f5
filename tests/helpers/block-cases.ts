import type { Files, ResourceCase } from "./resource-cases.ts";

/** A block device that may be weighed and throttled. */
export interface Disk {
  readonly major: number;
  readonly minor: number;
}

/** Weights are the bfq scheduler's; a kernel without it has io.weight, by another scale. */
export function blockCases({ major, minor }: Disk, hasBfq: boolean): readonly ResourceCase[] {
  const disk = `${major}:${minor}`;
  const throttle = (property: string, v1: string, v2: string, word: string): ResourceCase => {
    const resources = (rate: number) => ({ blockIO: { [property]: [{ major, minor, rate }] } });
    const words = (rate: number) =>
      ["rbps", "wbps", "riops", "wiops"].map((each) => `${each}=${each === word ? rate : "max"}`).join(" ");
    return {
      title: `blockIO.${property}`,
      resources: resources(1_048_576),
      v1: { [v1]: `${disk} 1048576` },
      v2: { [v2]: `${disk} ${words(1_048_576)}` },
      update: {
        resources: resources(2_097_152),
        v1: { [v1]: `${disk} 2097152` },
        v2: { [v2]: `${disk} ${words(2_097_152)}` },
      },
    };
  };
  const weight = (bfq: number, io: number): Files =>
    hasBfq ? { "io.bfq.weight": `default ${bfq}` } : { "io.weight": `default ${io}` };
  return [
    {
      title: "blockIO.weight",
      resources: { blockIO: { weight: 300 } },
      v1: { "blkio.bfq.weight": "300" },
      v2: weight(300, 2930),
      update: { resources: { blockIO: { weight: 500 } }, v1: { "blkio.bfq.weight": "500" }, v2: weight(500, 4950) },
    },
    {
      title: "blockIO.weightDevice",
      resources: { blockIO: { weightDevice: [{ major, minor, weight: 400 }] } },
      v1: { "blkio.bfq.weight_device": `${disk} 400` },
      v2: { "io.bfq.weight": `${disk} 400` },
      update: {
        resources: { blockIO: { weightDevice: [{ major, minor, weight: 200 }] } },
        v1: { "blkio.bfq.weight_device": `${disk} 200` },
        v2: { "io.bfq.weight": `${disk} 200` },
      },
    },
    throttle("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "io.max", "rbps"),
    throttle("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "io.max", "wbps"),
    throttle("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "io.max", "riops"),
    throttle("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "io.max", "wiops"),
  ];
}
