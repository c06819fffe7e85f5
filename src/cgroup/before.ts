import { readText, writeText } from "../kernel/files.ts";
import type { Program } from "../plan/step.ts";
import { isKeyed, restoringText } from "./restore-values.ts";

/** A file that a program is about to write. */
export interface Before {
  /** Absolute. */
  readonly path: string;
  readonly content: string;
  readonly written: string;
}

/** What the files that the program writes say now, in the order of its writes; device rules cannot be read back. */
export function readBefore({ steps }: Program): Before[] {
  const found: Before[] = [];
  for (let at = 0; at + 1 < steps.length; at++) {
    const path = steps[at]!.args[1];
    const written = steps[at + 1]!.args[1];
    if (typeof path !== "string" || typeof written !== "string") continue;
    if (steps[at]!.call !== "openat" || steps[at + 1]!.call !== "write" || nameOf(path).startsWith("devices."))
      continue;
    const content = readText(path);
    if (typeof content === "string") found.push({ path, content, written });
  }
  return found;
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/**
 * Makes the files say what they said, the last one first: a limit may only be taken back when one that depends on it has
 * been. Returns the paths of those that still say something else.
 */
export function restore(before: readonly Before[]): string[] {
  const failed = new Set<string>();
  for (const { path, content, written } of [...before].reverse()) {
    if (readText(path) === content) continue;
    if (writeText(path, restoringText(nameOf(path), content, written)) < 0) failed.add(path);
    else failed.delete(path);
  }
  return [...failed];
}

/** What the files said, as if it were to be written; but for those of devices, of which not all lines are known to be ours. */
export function restoredFiles(before: readonly Before[]): { file: string; value: string }[] {
  const files = before.map(({ path, content }) => ({ file: nameOf(path), value: content.trim() }));
  return files.filter(({ file, value }) => !isKeyed(file) && value !== "");
}
