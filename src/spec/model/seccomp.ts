import { z } from "zod";
import { SECCOMP_ACTIONS, SECCOMP_ARCHITECTURES, SECCOMP_OPERATORS } from "../seccomp-names.ts";
import { uint32, uint64 } from "./integers.ts";

export const seccompAction = z.enum(SECCOMP_ACTIONS).meta({ id: "SeccompAction" });

export const seccompOperator = z.enum(SECCOMP_OPERATORS);

export const seccompArch = z.enum(SECCOMP_ARCHITECTURES);

export const seccompFlag = z.enum([
  "SECCOMP_FILTER_FLAG_TSYNC",
  "SECCOMP_FILTER_FLAG_LOG",
  "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
  "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
]);

const syscallArg = z.object({
  index: uint32().describe("Which argument, from 0 to 5"),
  value: uint64().describe("What it is compared with; the mask for SCMP_CMP_MASKED_EQ"),
  valueTwo: uint64().optional().describe("What the masked argument must equal; SCMP_CMP_MASKED_EQ only"),
  op: seccompOperator.describe("How it is compared"),
});

const syscallRule = z.object({
  names: z.array(z.string()).min(1).describe("System calls; names that the kernel does not have are ignored"),
  action: seccompAction.describe("What happens on such a call"),
  errnoRet: uint32().optional().describe("Error number to return, or value for the tracer; EPERM when absent"),
  args: z.array(syscallArg).optional().describe("The rule applies only when all of these hold"),
});

/** config-linux.md "Seccomp". */
export const seccomp = z
  .object({
    defaultAction: seccompAction.describe("What happens on a call that no rule names"),
    defaultErrnoRet: uint32().optional().describe("Error number of the default action; EPERM when absent"),
    architectures: z
      .array(seccompArch)
      .optional()
      .describe("System call tables that are allowed besides the kernel's own"),
    flags: z.array(seccompFlag).optional().describe("Flags of seccomp(2)"),
    listenerPath: z.string().optional().describe("Unix socket that gets the descriptor for SCMP_ACT_NOTIFY"),
    listenerMetadata: z.string().optional().describe("Text for whoever listens there"),
    syscalls: z.array(syscallRule).optional().describe("Rules"),
  })
  .describe("Which system calls the process can make");
