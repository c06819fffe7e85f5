/** Numbers as strace(1) shows them: flags by the kernel's names. Tables are made when they are asked for. */
import { capabilityNames } from "../abi/capability.ts";

/** Names and the bits, or the value, that they stand for. */
export type Names = readonly (readonly [name: string, value: number])[];

/** Bits by name, those without one in hexadecimal: `MS_REC|MS_SLAVE`, `0`, `MS_REC|0x40000000`. */
export function flags(value: number | bigint, names: Names): string {
  let rest = BigInt(value);
  const found: string[] = [];
  for (const [name, bits] of names) {
    const wanted = BigInt(bits);
    if (wanted === 0n || (rest & wanted) !== wanted) continue;
    found.push(name);
    rest &= ~wanted;
  }
  if (rest !== 0n) found.push(`0x${rest.toString(16)}`);
  return found.length === 0 ? "0" : found.join("|");
}

/** A value that has a name, or the value. */
export function oneOf(value: number | bigint, names: Names): string {
  return names.find(([, number]) => BigInt(number) === BigInt(value))?.[0] ?? `0x${value.toString(16)}`;
}

/** A mode or umask: `0755`, `000`. */
export function octal(mode: number): string {
  return `0${mode.toString(8).padStart(2, "0")}`;
}

/** A set of capabilities: `1<<CAP_KILL|1<<CAP_CHOWN`. */
export function capabilitySet(set: bigint): string {
  const names = capabilityNames.map((name, bit) => [`1<<${name}`, 2 ** bit] as const);
  return flags(set, names);
}

/** Text in quotes. What is not printable as C writes it: `\n`, `\33`, and `\033` before a digit. */
export function quoted(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += escaped(bytes[i]!, bytes[i + 1] ?? 0);
  return `"${text}"`;
}

function escaped(byte: number, next: number): string {
  const at = [9, 10, 11, 12, 13].indexOf(byte);
  if (at >= 0) return ["\\t", "\\n", "\\v", "\\f", "\\r"][at]!;
  if (byte === 0x22 || byte === 0x5c) return `\\${String.fromCharCode(byte)}`;
  if (byte >= 0x20 && byte < 0x7f) return String.fromCharCode(byte);
  const isDigitNext = next >= 0x30 && next <= 0x37;
  return `\\${byte.toString(8).padStart(isDigitNext ? 3 : 1, "0")}`;
}

/** A limit: RLIM64_INFINITY, `8192*1024`, or the number. */
export function limit(value: number | bigint): string {
  const number = BigInt.asUintN(64, BigInt(value));
  if (number === 0xffffffffffffffffn) return "RLIM64_INFINITY";
  return number > 1024n && number % 1024n === 0n ? `${number / 1024n}*1024` : String(number);
}
