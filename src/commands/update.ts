import { errnoName, errnoText } from "../abi/errno.ts";
import { MFD_CLOEXEC } from "../abi/memfd.ts";
import type { Command } from "../cli/options.ts";
import { mergeResources } from "../container/merge-resources.ts";
import { updateContainer } from "../container/update.ts";
import { resourcesOfOptions } from "../container/update-options.ts";
import { TsrunError } from "../errors.ts";
import { readAll, readText, writeAll } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { beforeColdStart } from "../kernel/warm-start.ts";
import { parseResources } from "../spec/load.ts";
import type { Resources } from "../spec/types.ts";
import { stateRoot } from "../state/root.ts";
import { textOf } from "../text.ts";

export const updateCommand: Command<"update"> = ({ args, options, globals, warn }) => {
  const wanted = resourcesOfOptions(options);
  const file =
    options.resources === undefined || options.resources === "" ? {} : readResources(options.resources, warn);
  const change = mergeResources(file, wanted);
  updateContainer(stateRoot(globals.root), args[0]!, { change, replacesDevices: options.replaceDevices }, warn);
  return 0;
};

/** `-` is standard input. */
function readResources(path: string, warn: (message: string) => void): Resources {
  const content = path === "-" ? readStandardInput() : readText(path);
  const name = path === "-" ? "standard input" : path;
  if (typeof content === "number") {
    const shown = path === "-" ? name : JSON.stringify(path);
    const message = `cannot read ${shown}: ${errnoText(-content)} (--resources)`;
    throw new TsrunError(message, { code: errnoName(-content) });
  }
  const { resources, warnings } = parseResources(typeof content === "string" ? content : textOf(content), name);
  for (const warning of warnings) warn(warning);
  return resources;
}

/** It can be read once: a process that begins anew gets it as a file. */
function readStandardInput(): Uint8Array | number {
  const content = readAll(0);
  if (typeof content === "number") return content;
  beforeColdStart(() => {
    const fd = sys("memfd_create", "resources", MFD_CLOEXEC);
    writeAll(fd, content);
    sys("lseek", fd, 0, 0);
    sys("dup3", fd, 0, 0);
  });
  return content;
}
