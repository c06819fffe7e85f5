import { version } from "../../package.json";
import { print } from "../cli/output.ts";

/** The commit that the build was made from; the build defines it. */
declare const TSRUN_COMMIT: string | undefined;

/** The newest runtime specification whose properties are known. */
export const specVersion = "1.3.0";
export const tsrunVersion: string = version;

export function commit(): string {
  return typeof TSRUN_COMMIT === "string" ? TSRUN_COMMIT : "unknown";
}

/** Docker reads the lines with `version` and `commit:`. */
export function printVersion(): number {
  print(`tsrun version ${tsrunVersion}\ncommit: ${commit()}\nspec: ${specVersion}\nbun: ${Bun.version}\n`);
  return 0;
}
