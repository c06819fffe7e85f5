import { errnoName, errnoText } from "../abi/errno.ts";
import { exitCode, terminatingSignal } from "../abi/wait.ts";
import { propertyOf, TsrunError } from "../errors.ts";
import { CAUSE, type Step } from "./step.ts";

/**
 * The error of a step that the kernel refused. `explanation` is the kernel's own text from the log of a file system
 * context (fsopen(2)), empty when there is none.
 */
export function stepError(step: Step, errno: number, explanation = ""): TsrunError {
  const name = errnoName(errno);
  const said = step.says?.[name] ?? step.says?.["*"];
  const cause = explanation === "" ? errnoText(errno) : `${errnoText(errno)}: ${explanation}`;
  const where = step.pointer === undefined || step.pointer === "" ? "" : ` (${propertyOf(step.pointer)})`;
  const message = said === undefined ? `cannot ${step.what}: ${cause}${where}` : said.replace(CAUSE, () => cause);
  return new TsrunError(message, { code: name, step: step.call, pointer: step.pointer, hint: step.hint });
}

/** The error of a step whose program did not exit with 0, in the program's own words where it has any. */
export function childError(step: Step, status: number, said: string): TsrunError {
  const code = exitCode(status);
  const end = code === undefined ? `killed by signal ${terminatingSignal(status)}` : `exit status ${code}`;
  const where = step.pointer === undefined || step.pointer === "" ? "" : ` (${propertyOf(step.pointer)})`;
  const cause = said === "" ? `${String(step.args[0])}: ${end}` : said.replaceAll("\n", "; ");
  const details = { code: "ECHILD", step: step.call, pointer: step.pointer, hint: step.hint };
  return new TsrunError(`cannot ${step.what}: ${cause}${where}`, details);
}
