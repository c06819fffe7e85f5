import { z } from "zod";

/** config.md "POSIX-platform Hooks". */
export const hook = z
  .object({
    path: z.string().describe("Absolute path of the program"),
    args: z.array(z.string()).optional().describe("Arguments, the program's own name first"),
    env: z.array(z.string()).optional().describe("The whole environment, as name=value"),
    timeout: z.int().min(1).optional().describe("Seconds after which the hook is killed and has failed"),
  })
  .meta({ id: "Hook" });

export const hooks = z
  .object({
    prestart: z.array(hook).optional().describe("Deprecated: run together with createRuntime, before those"),
    createRuntime: z.array(hook).optional().describe("On create, in the host's namespaces, before the root is changed"),
    createContainer: z
      .array(hook)
      .optional()
      .describe("On create, in the container's namespaces, before the root is changed"),
    startContainer: z.array(hook).optional().describe("On start, inside the container, before the process"),
    poststart: z.array(hook).optional().describe("On start, in the host's namespaces, after the process has started"),
    poststop: z.array(hook).optional().describe("On delete, in the host's namespaces; a failure is a warning"),
  })
  .describe("Programs that are run at certain moments, with the container's state on their standard input");
