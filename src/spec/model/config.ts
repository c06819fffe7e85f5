import { z } from "zod";
import { hooks } from "./hooks.ts";
import { linux } from "./linux.ts";
import { mount } from "./mounts.ts";
import { process } from "./process.ts";
import { root } from "./root.ts";

const otherPlatform = z.unknown().optional().describe("Another platform: ignored");

/** config.json of the OCI runtime specification 1.3, as Linux reads it. */
export const config = z
  .object({
    $schema: z.string().optional().describe("Which JSON Schema this is: for editors"),
    ociVersion: z.string().describe("Version of the OCI runtime specification, such as 1.3.0"),
    root: root.optional(),
    mounts: z.array(mount).optional().describe("File systems to mount, in this order"),
    process: process.optional(),
    hostname: z.string().optional().describe("Host name; needs a UTS namespace"),
    domainname: z.string().optional().describe("NIS domain name; needs a UTS namespace"),
    hooks: hooks.optional(),
    annotations: z.record(z.string(), z.string()).optional().describe("Anything, by name; shown by state"),
    linux: linux.optional(),
    solaris: otherPlatform,
    windows: otherPlatform,
    vm: otherPlatform,
    zos: otherPlatform,
    freebsd: otherPlatform,
  })
  .describe("Configuration of an OCI container");
