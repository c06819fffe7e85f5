import { z } from "zod";
import { int64, uint32 } from "./integers.ts";

export const namespaceType = z.enum(["mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time"]);

/** config-linux.md "Namespaces". */
export const namespace = z.object({
  type: namespaceType.describe("Each type at most once"),
  path: z.string().optional().describe("Absolute path of a namespace to join; a new one is made when absent"),
});

const offset = z.object({
  secs: int64().optional().describe("Seconds, may be negative"),
  nanosecs: uint32().optional().describe("Nanoseconds"),
});

/** config-linux.md "Offset for Time Namespace". */
export const timeOffsets = z
  .object({
    boottime: offset.optional().describe("Offset of CLOCK_BOOTTIME"),
    monotonic: offset.optional().describe("Offset of CLOCK_MONOTONIC"),
  })
  .describe("Clocks of a new time namespace: time_namespaces(7)");
