import { z } from "zod";
import { namespaceType } from "./namespaces.ts";
import { seccompAction, seccompArch, seccompFlag, seccompOperator } from "./seccomp.ts";

const enabled = (what: string) =>
  z
    .object({ enabled: z.boolean().optional().describe("Supported by this build") })
    .optional()
    .describe(what);

const linuxFeatures = z
  .object({
    namespaces: z.array(namespaceType).optional().describe("Namespace types"),
    capabilities: z
      .array(z.string().regex(/^CAP_[A-Z_]+$/))
      .optional()
      .describe("Capability names"),
    cgroup: z
      .object({
        v1: z.boolean().optional().describe("cgroup v1"),
        v2: z.boolean().optional().describe("cgroup v2"),
        systemd: z.boolean().optional().describe("systemd's system manager"),
        systemdUser: z.boolean().optional().describe("systemd's user manager"),
        rdma: z.boolean().optional().describe("RDMA limits"),
      })
      .optional()
      .describe("Control groups"),
    seccomp: z
      .object({
        enabled: z.boolean().optional().describe("Supported by this build"),
        actions: z.array(seccompAction).optional().describe("Actions"),
        operators: z.array(seccompOperator).optional().describe("Operators"),
        archs: z.array(seccompArch).optional().describe("Architectures"),
        knownFlags: z.array(seccompFlag).optional().describe("Flags that are understood"),
        supportedFlags: z.array(seccompFlag).optional().describe("Flags that this kernel takes"),
      })
      .optional()
      .describe("seccomp"),
    apparmor: enabled("AppArmor"),
    selinux: enabled("SELinux"),
    intelRdt: z
      .object({
        enabled: z.boolean().optional().describe("Supported by this build"),
        schemata: z.boolean().optional().describe("linux.intelRdt.schemata"),
        monitoring: z.boolean().optional().describe("linux.intelRdt.enableMonitoring"),
      })
      .optional()
      .describe("resctrl"),
    memoryPolicy: z
      .object({
        modes: z.array(z.string()).optional().describe("Modes"),
        flags: z.array(z.string()).optional().describe("Flags"),
      })
      .optional()
      .describe("set_mempolicy(2)"),
    mountExtensions: z
      .object({ idmap: enabled("Idmapped mounts") })
      .optional()
      .describe("Mounts"),
    netDevices: enabled("Moving network devices"),
  })
  .describe("What is particular to Linux");

/** features.md, features-linux.md. */
export const features = z
  .object({
    ociVersionMin: z.string().describe("Oldest version of the specification that is understood"),
    ociVersionMax: z.string().describe("Newest version of the specification that is understood"),
    hooks: z.array(z.string()).optional().describe("Kinds of hooks"),
    mountOptions: z.array(z.string()).optional().describe("Mount options that are not left to the file system"),
    linux: linuxFeatures.optional(),
    annotations: z.record(z.string(), z.string()).optional().describe("What is particular to this runtime"),
    potentiallyUnsafeConfigAnnotations: z
      .array(z.string())
      .optional()
      .describe("Annotations of config.json that change what the runtime does; a final dot means a prefix"),
  })
  .describe("What an OCI runtime supports");
