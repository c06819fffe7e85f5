import { z } from "zod";
import { int32, uint32, uint64 } from "./integers.ts";

/** config.md "POSIX-platform User". */
export const user = z
  .object({
    uid: uint32().optional().describe("User id inside the container; 0 when absent"),
    gid: uint32().optional().describe("Group id inside the container; 0 when absent"),
    umask: uint32().optional().describe("File mode creation mask, in decimal; the caller's when absent"),
    additionalGids: z.array(uint32()).optional().describe("Supplementary group ids inside the container"),
    username: z.string().optional().describe("Windows only: ignored"),
  })
  .describe("Who the process runs as");

const capabilityNames = (what: string) => z.array(z.string()).optional().describe(what);

/** config.md "Linux Process"; the names are those of capabilities(7). */
export const capabilities = z
  .object({
    bounding: capabilityNames("What execve(2) can ever grant"),
    effective: capabilityNames("What the kernel checks"),
    inheritable: capabilityNames("What is kept over execve(2) of a file that has them inheritable"),
    permitted: capabilityNames("What may be made effective"),
    ambient: capabilityNames("What is kept over execve(2) of any file; must be permitted and inheritable"),
  })
  .describe("Capability sets of the process; none when absent. Unknown names are a warning");

export const rlimit = z.object({
  type: z.string().describe("RLIMIT_NOFILE and its like: getrlimit(2)"),
  soft: uint64().describe("The limit that is enforced; 18446744073709551615 is no limit"),
  hard: uint64().describe("The ceiling for the soft limit"),
});

export const scheduler = z
  .object({
    policy: z
      .enum(["SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE"])
      .describe("Scheduling policy: sched(7)"),
    nice: int32().optional().describe("-20 (first) to 19 (last); SCHED_OTHER and SCHED_BATCH"),
    priority: int32().optional().describe("1 (lowest) to 99 (highest); SCHED_FIFO and SCHED_RR"),
    flags: z
      .array(
        z.enum([
          "SCHED_FLAG_RESET_ON_FORK",
          "SCHED_FLAG_RECLAIM",
          "SCHED_FLAG_DL_OVERRUN",
          "SCHED_FLAG_KEEP_POLICY",
          "SCHED_FLAG_KEEP_PARAMS",
          "SCHED_FLAG_UTIL_CLAMP_MIN",
          "SCHED_FLAG_UTIL_CLAMP_MAX",
        ]),
      )
      .optional()
      .describe("Flags of sched_setattr(2)"),
    runtime: uint64().optional().describe("Nanoseconds of each period that it may run; SCHED_DEADLINE"),
    deadline: uint64().optional().describe("Nanoseconds into the period by which it has run; SCHED_DEADLINE"),
    period: uint64().optional().describe("Nanoseconds; SCHED_DEADLINE"),
  })
  .describe("How the kernel schedules the process: sched_setattr(2)");

export const ioPriority = z
  .object({
    class: z.enum(["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"]).describe("Class: ioprio_set(2)"),
    priority: int32().optional().describe("0 (highest) to 7 (lowest)"),
  })
  .describe("Disk scheduling of the process: ioprio_set(2)");

export const execCpuAffinity = z
  .object({
    initial: z.string().optional().describe("CPUs such as 0-3,7 to use before the container's cgroup is joined"),
    final: z.string().optional().describe("CPUs such as 0-3,7 to use after the container's cgroup was joined"),
  })
  .describe("CPUs of processes that exec adds to the container");

export const consoleSize = z
  .object({
    height: uint32().describe("Rows"),
    width: uint32().describe("Columns"),
  })
  .describe("Initial size of the terminal; ignored without one");

/** config.md "Process". On Linux `args` is required too: only Windows has `commandLine`. */
export const process = z
  .object({
    $schema: z.string().optional().describe("Which JSON Schema this is: for editors"),
    terminal: z.boolean().optional().describe("Give the process a pseudo-terminal"),
    consoleSize: consoleSize.optional(),
    user: user.optional(),
    args: z.array(z.string()).describe("The program, looked up in PATH, and its arguments: at least one entry"),
    commandLine: z.string().optional().describe("Windows only: ignored"),
    env: z.array(z.string()).optional().describe("The whole environment, as name=value; the last of a name wins"),
    cwd: z.string().describe("Working directory: an absolute path, made if absent"),
    capabilities: capabilities.optional(),
    rlimits: z.array(rlimit).optional().describe("Resource limits, each type once: setrlimit(2)"),
    noNewPrivileges: z
      .boolean()
      .optional()
      .describe("No program can gain privileges on execve(2): PR_SET_NO_NEW_PRIVS"),
    apparmorProfile: z.string().optional().describe("AppArmor profile of the process"),
    oomScoreAdj: z
      .int()
      .min(-1000)
      .max(1000)
      .optional()
      .describe("How willingly the OOM killer takes it: -1000 (never) to 1000; untouched when absent"),
    scheduler: scheduler.optional(),
    selinuxLabel: z.string().optional().describe("SELinux label of the process"),
    ioPriority: ioPriority.optional(),
    execCPUAffinity: execCpuAffinity.optional(),
  })
  .meta({ id: "Process", description: "The process that start runs" });
