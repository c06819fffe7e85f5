import { z } from "zod";
import { int32, int64, uint16, uint32, uint64 } from "./integers.ts";

const deviceRule = z.object({
  allow: z.boolean().describe("Allowed or denied"),
  type: z.string().optional().describe("a (all), c or b; all when absent"),
  major: int32().optional().describe("Major number; any when absent or -1"),
  minor: int32().optional().describe("Minor number; any when absent or -1"),
  access: z.string().optional().describe("Letters of r (read), w (write), m (mknod)"),
});

const memory = z.object({
  limit: int64().optional().describe("Bytes; -1 is no limit"),
  reservation: int64().optional().describe("Soft limit in bytes; memory.low on cgroup v2"),
  swap: int64().optional().describe("Memory and swap together, in bytes; -1 is no limit"),
  kernel: int64().optional().describe("Kernel memory in bytes; obsolete, ignored by kernels since 5.16"),
  kernelTCP: int64().optional().describe("Memory of TCP buffers in bytes; cgroup v1 only"),
  swappiness: uint64().optional().describe("0 to 100; cgroup v1 only"),
  disableOOMKiller: z.boolean().optional().describe("Processes wait instead of being killed; cgroup v1 only"),
  useHierarchy: z.boolean().optional().describe("Count child cgroups too; cgroup v1 only"),
  checkBeforeUpdate: z.boolean().optional().describe("Refuse an update to less than what is in use"),
});

const cpu = z.object({
  shares: uint64().optional().describe("Weight against other cgroups, 2 to 262144"),
  quota: int64().optional().describe("Microseconds of CPU time in each period; 0 or less is no limit"),
  burst: uint64().optional().describe("Microseconds that unused quota may add to a period"),
  period: uint64().optional().describe("Microseconds"),
  realtimeRuntime: int64().optional().describe("Microseconds of real-time scheduling in each period; cgroup v1 only"),
  realtimePeriod: uint64().optional().describe("Microseconds; cgroup v1 only"),
  cpus: z.string().optional().describe("CPUs such as 0-3,7"),
  mems: z.string().optional().describe("Memory nodes such as 0-3,7"),
  idle: int64().optional().describe("1: run only when nothing else wants to"),
});

const weightDevice = z.object({
  major: uint32().describe("Major number"),
  minor: uint32().describe("Minor number"),
  weight: uint16().optional().describe("10 to 1000"),
  leafWeight: uint16().optional().describe("10 to 1000, against child cgroups; cgroup v1 only"),
});

const throttleDevice = z
  .object({
    major: uint32().describe("Major number"),
    minor: uint32().describe("Minor number"),
    rate: uint64().optional().describe("Bytes or operations a second"),
  })
  .meta({ id: "ThrottleDevice" });

const blockIO = z.object({
  weight: uint16().optional().describe("Weight against other cgroups, 10 to 1000"),
  leafWeight: uint16().optional().describe("Weight against child cgroups, 10 to 1000; cgroup v1 only"),
  weightDevice: z.array(weightDevice).optional().describe("Weights for single devices"),
  throttleReadBpsDevice: z.array(throttleDevice).optional().describe("Bytes read a second"),
  throttleWriteBpsDevice: z.array(throttleDevice).optional().describe("Bytes written a second"),
  throttleReadIOPSDevice: z.array(throttleDevice).optional().describe("Read operations a second"),
  throttleWriteIOPSDevice: z.array(throttleDevice).optional().describe("Write operations a second"),
});

const hugepageLimit = z.object({
  pageSize: z
    .string()
    .regex(/^[1-9][0-9]*[KMG]B$/)
    .describe("Such as 2MB or 1GB"),
  limit: uint64().describe("Bytes"),
});

const network = z.object({
  classID: uint32().optional().describe("net_cls class of its packets; cgroup v1 only"),
  priorities: z
    .array(
      z.object({
        name: z.string().describe("Interface on the host"),
        priority: uint32().describe("Priority of packets sent there"),
      }),
    )
    .optional()
    .describe("Priorities by interface; cgroup v1 only"),
});

const rdma = z.object({
  hcaHandles: uint32().optional().describe("How many handles can be open"),
  hcaObjects: uint32().optional().describe("How many objects can exist"),
});

/** config-linux.md "Control groups"; also what `update --resources` reads. */
export const resources = z
  .object({
    $schema: z.string().optional().describe("Which JSON Schema this is: for editors"),
    unified: z
      .record(z.string(), z.string())
      .optional()
      .describe("Files of the cgroup and their content; cgroup v2 only"),
    devices: z.array(deviceRule).optional().describe("Which devices can be used; applied in this order"),
    pids: z
      .object({ limit: int64().describe("How many processes and threads; -1 is no limit") })
      .optional()
      .describe("Number of processes"),
    memory: memory.optional().describe("Memory"),
    cpu: cpu.optional().describe("CPU time"),
    blockIO: blockIO.optional().describe("Block devices"),
    hugepageLimits: z.array(hugepageLimit).optional().describe("Huge pages by size"),
    network: network.optional().describe("Packet classes and priorities; cgroup v1 only"),
    rdma: z.record(z.string(), rdma).optional().describe("RDMA by device"),
  })
  .meta({ id: "Resources", description: "Limits of the container's cgroup" });
