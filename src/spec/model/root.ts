import { z } from "zod";

/** config.md "Root". */
export const root = z
  .object({
    path: z.string().describe("Directory of the root file system: absolute, or relative to the bundle"),
    readonly: z.boolean().optional().describe("The container cannot write to its root file system"),
  })
  .describe("The container's root file system");
