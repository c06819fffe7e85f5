import { z } from "zod";
import { uint32 } from "./integers.ts";

/** config-linux.md "User namespace mappings". */
export const idMapping = z
  .object({
    containerID: uint32().describe("First id inside the container"),
    hostID: uint32().describe("First id on the host"),
    size: uint32().describe("How many ids from there on"),
  })
  .meta({ id: "IdMapping" });
