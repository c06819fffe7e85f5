/** D-Bus Specification, "Type System": https://dbus.freedesktop.org/doc/dbus-specification.html */

/** A value: what a signature's basic types hold; arrays, structs and byte arrays are lists, a variant `[signature, value]`. */
export type BusData = boolean | number | bigint | string | readonly BusData[];

/** boolean, integers of 8 to 64 bits, double, string, object path, signature. */
export const BASIC_TYPES = "bynqiuxtdsog";

/** The signatures of a container's members: of an array `length` times the same, of a struct one after another. */
export function memberSignatures(signature: string, length: number): string[] {
  if (signature.startsWith("a")) return new Array<string>(length).fill(signature.slice(1));
  const members: string[] = [];
  for (let rest = signature.slice(1, -1); rest !== ""; ) {
    const first = firstType(rest);
    if (first === "") break;
    members.push(first);
    rest = rest.slice(first.length);
  }
  return members;
}

/** The first complete type of a signature: `a(st)` of `a(st)u`. Empty when there is none; dictionaries are none here. */
export function firstType(signature: string): string {
  const first = signature.slice(0, 1);
  if (first === "a") {
    const of = firstType(signature.slice(1));
    return of === "" ? "" : `a${of}`;
  }
  if (first !== "(") return first === "v" || (first !== "" && BASIC_TYPES.includes(first)) ? first : "";
  let at = 1;
  while (signature[at] !== ")") {
    const member = firstType(signature.slice(at));
    if (member === "") return "";
    at += member.length;
  }
  return at === 1 ? "" : signature.slice(0, at + 1);
}
