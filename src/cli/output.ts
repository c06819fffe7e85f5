import { writeAll } from "../kernel/files.ts";

/** Writes `text` to standard output, all of it; a reader that has gone away is no error. */
export function print(text: string): void {
  writeAll(1, Buffer.from(text, "utf8"));
}

export function printError(text: string): void {
  writeAll(2, Buffer.from(text, "utf8"));
}
