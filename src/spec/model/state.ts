import { z } from "zod";

/** runtime.md "State". */
export const state = z
  .object({
    ociVersion: z.string().describe("Version of the OCI runtime specification"),
    id: z.string().describe("The container's id"),
    status: z.enum(["creating", "created", "running", "stopped"]).describe("Where in its life the container is"),
    pid: z.int().min(0).optional().describe("Its first process as the host sees it; absent or 0 once stopped"),
    bundle: z.string().describe("Absolute path of the bundle"),
    annotations: z.record(z.string(), z.string()).optional().describe("The annotations of config.json"),
  })
  .describe("State of an OCI container");
