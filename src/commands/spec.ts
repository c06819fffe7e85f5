import { errnoName, errnoText } from "../abi/errno.ts";
import { O_CLOEXEC, O_CREAT, O_EXCL, O_WRONLY } from "../abi/fcntl.ts";
import type { Command } from "../cli/options.ts";
import { TsrunError } from "../errors.ts";
import { close, openDirectory, writeAll } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { defaultConfig } from "../spec/default-config.ts";

/** Writes a config.json to start from; a file that exists is not touched. */
export const specCommand: Command<"spec"> = ({ options: { bundle, file, rootless } }) => {
  const ids = rootless ? { uid: sys("geteuid"), gid: sys("getegid") } : undefined;
  const text = `${JSON.stringify(defaultConfig({ rootless: ids }), undefined, "\t")}\n`;
  const directory = openDirectory(bundle);
  if (directory < 0) fail(`open bundle ${JSON.stringify(bundle)}`, "openat", directory);
  writeNewFile(directory, file, text);
  close(directory);
  return 0;
};

/** The message for a file that exists is runc's. */
function writeNewFile(directory: number, file: string, text: string): void {
  const fd = sys("openat", directory, file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666);
  if (fd < 0 && errnoName(-fd) === "EEXIST") {
    throw new TsrunError(`File ${file} exists. Remove it first`, { code: "EEXIST", step: "openat" });
  }
  if (fd < 0) fail(`create ${JSON.stringify(file)}`, "openat", fd);
  const failed = writeAll(fd, Buffer.from(text, "utf8"));
  close(fd);
  if (failed < 0) {
    sys("unlinkat", directory, file, 0);
    fail(`write ${JSON.stringify(file)}`, "write", failed);
  }
}

function fail(what: string, step: string, result: number): never {
  throw new TsrunError(`cannot ${what}: ${errnoText(-result)}`, { code: errnoName(-result), step });
}
