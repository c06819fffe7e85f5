import { z } from "zod";
import { device, netDevice } from "./devices.ts";
import { idMapping } from "./id-mapping.ts";
import { namespace, timeOffsets } from "./namespaces.ts";
import { resources } from "./resources.ts";
import { seccomp } from "./seccomp.ts";

/** config-linux.md "IntelRdt". */
export const intelRdt = z
  .object({
    closID: z.string().optional().describe("Class of service: a directory of resctrl; the container's id when absent"),
    schemata: z.array(z.string()).optional().describe("Lines for the schemata file, written last"),
    l3CacheSchema: z.string().optional().describe("Line for the L3 cache, beginning with L3:"),
    memBwSchema: z
      .string()
      .regex(/^MB:[^\n]*$/)
      .optional()
      .describe("Line for the memory bandwidth, beginning with MB:"),
    enableMonitoring: z.boolean().optional().describe("Make a monitoring group for the container"),
  })
  .describe("Cache and memory bandwidth: resctrl");

/** config-linux.md "Memory policy". */
export const memoryPolicy = z
  .object({
    mode: z
      .enum([
        "MPOL_DEFAULT",
        "MPOL_BIND",
        "MPOL_INTERLEAVE",
        "MPOL_WEIGHTED_INTERLEAVE",
        "MPOL_PREFERRED",
        "MPOL_PREFERRED_MANY",
        "MPOL_LOCAL",
      ])
      .describe("Mode of set_mempolicy(2)"),
    nodes: z.string().optional().describe("Memory nodes such as 0-3,7"),
    flags: z
      .array(z.enum(["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"]))
      .optional()
      .describe("Mode flags of set_mempolicy(2)"),
  })
  .describe("Which memory nodes the process allocates from: set_mempolicy(2)");

/** config-linux.md "Personality". */
export const personality = z
  .object({
    domain: z.enum(["LINUX", "LINUX32"]).describe("Execution domain"),
    flags: z.array(z.string()).optional().describe("Reserved by the specification: ignored with a warning"),
  })
  .describe("Execution domain: personality(2)");

/** The four of the specification, and those with "r" that engines write. */
export const rootfsPropagation = z.enum([
  "private",
  "rprivate",
  "slave",
  "rslave",
  "shared",
  "rshared",
  "unbindable",
  "runbindable",
]);

/** config-linux.md. */
export const linux = z
  .object({
    namespaces: z.array(namespace).optional().describe("Namespaces to make or to join; all others are the caller's"),
    uidMappings: z.array(idMapping).optional().describe("User ids of the user namespace"),
    gidMappings: z.array(idMapping).optional().describe("Group ids of the user namespace"),
    timeOffsets: timeOffsets.optional(),
    devices: z.array(device).optional().describe("Devices besides those that every container gets"),
    netDevices: z
      .record(z.string(), netDevice)
      .optional()
      .describe("Network interfaces to move into the container, by their name on the host"),
    cgroupsPath: z
      .string()
      .optional()
      .describe("Path of the cgroup in its hierarchy; slice:prefix:name with the systemd driver"),
    resources: resources.optional(),
    rootfsPropagation: rootfsPropagation.optional().describe("Mount propagation of the root file system"),
    seccomp: seccomp.optional(),
    sysctl: z.record(z.string(), z.string()).optional().describe("Kernel parameters of the container's namespaces"),
    maskedPaths: z.array(z.string()).optional().describe("Absolute paths that the container cannot read"),
    readonlyPaths: z.array(z.string()).optional().describe("Absolute paths that the container cannot write"),
    mountLabel: z.string().optional().describe("SELinux label of the mounts"),
    intelRdt: intelRdt.optional(),
    memoryPolicy: memoryPolicy.optional(),
    personality: personality.optional(),
  })
  .describe("What is particular to Linux");
