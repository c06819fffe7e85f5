import { errnoName, errnoText } from "../abi/errno.ts";
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
