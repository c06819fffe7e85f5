import { z } from "zod";
import { uint32 } from "./integers.ts";

/** config-linux.md "Devices". */
export const device = z.object({
  type: z.enum(["c", "b", "u", "p"]).describe("c or u: character device, b: block device, p: FIFO"),
  path: z.string().describe("Absolute path inside the container"),
  major: uint32().optional().describe("Major number; required unless a FIFO"),
  minor: uint32().optional().describe("Minor number; required unless a FIFO"),
  fileMode: uint32().optional().describe("Permissions, in decimal; 438 (0666) when absent"),
  uid: uint32().optional().describe("Owner inside the container"),
  gid: uint32().optional().describe("Group inside the container"),
});

/** config-linux.md "Network Devices". */
export const netDevice = z.object({
  name: z.string().optional().describe("Its name inside the container; as on the host when absent"),
});
