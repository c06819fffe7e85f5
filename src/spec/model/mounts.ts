import { z } from "zod";
import { idMapping } from "./id-mapping.ts";

/** config.md "Mounts", with the properties of POSIX platforms. */
export const mount = z
  .object({
    destination: z.string().describe("Absolute path inside the container"),
    type: z.string().optional().describe("File system type, as in /proc/filesystems; ignored for a bind mount"),
    source: z
      .string()
      .optional()
      .describe("Device, file or directory; for a bind mount absolute, or relative to the bundle"),
    options: z
      .array(z.string())
      .optional()
      .describe("Options as mount(8) has them; those that tsrun does not know go to the file system"),
    uidMappings: z
      .array(idMapping)
      .optional()
      .describe("User ids of the source as the mount shows them; bind mounts only"),
    gidMappings: z
      .array(idMapping)
      .optional()
      .describe("Group ids of the source as the mount shows them; bind mounts only"),
  })
  .meta({ id: "Mount" });
