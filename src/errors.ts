/** What an error can say besides its message. Every field ends up in the JSON log line. */
export interface ErrorDetails {
  /** The kernel's or our own name of the cause, e.g. `ENOENT`, `EINVALIDCONFIG`. */
  code?: string | undefined;
  /** The system call, or stage, that failed, e.g. `move_mount`. */
  step?: string | undefined;
  /** JSON pointer of the property that asked for it, e.g. `/mounts/0`. */
  pointer?: string | undefined;
  /** What the reader can do about it: one sentence without a final period. */
  hint?: string | undefined;
  /** Exit status of the command; 1 unless the contract of an engine says otherwise. */
  exitStatus?: number | undefined;
}

/**
 * The one error that reaches a user. The message says the action, the thing, the cause and where it was asked for:
 * `cannot mount "proc" on "/proc": permission denied (mounts[0])`.
 */
export class TsrunError extends Error {
  readonly details: ErrorDetails;
  constructor(message: string, details: ErrorDetails = {}) {
    super(message);
    this.name = "TsrunError";
    this.details = details;
  }
}

/** `/mounts/0/options` → `mounts[0].options`, the way people write a property of config.json. */
export function propertyOf(pointer: string): string {
  let property = "";
  for (const part of pointer.split("/").slice(1)) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    if (/^\d+$/.test(name)) property += `[${name}]`;
    else if (/^[A-Za-z_]\w*$/.test(name)) property += property === "" ? name : `.${name}`;
    else property += `[${JSON.stringify(name)}]`;
  }
  return property;
}

/** A name as part of a JSON pointer (RFC 6901). */
export function pointerPart(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}

export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
