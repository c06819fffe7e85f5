import { type BusData, memberSignatures } from "../abi/dbus.ts";

/** A property of a systemd unit, as StartTransientUnit and SetUnitProperties take it (org.freedesktop.systemd1(5)). */
export interface UnitProperty {
  readonly name: string;
  /** Of D-Bus: `t`, `a(ss)`. */
  readonly signature: string;
  readonly value: BusData;
}

export function property(name: string, signature: string, value: BusData): UnitProperty {
  return { name, signature, value };
}

/** `infinity` of systemd's own texts. */
export const INFINITY = 0xffff_ffff_ffff_ffffn;

/** `MemoryMax=uint64 1048576`, for people, in the syntax that annotations have. */
export function propertyText({ name, signature, value }: UnitProperty): string {
  return `${name}=${typePrefix(signature)}${dataText(value, signature)}`;
}

/** GVariant's text for types that digits alone do not say. */
function typePrefix(signature: string): string {
  switch (signature) {
    case "y":
      return "byte ";
    case "n":
      return "int16 ";
    case "q":
      return "uint16 ";
    case "u":
      return "uint32 ";
    case "x":
      return "int64 ";
    case "t":
      return "uint64 ";
    case "o":
      return "objectpath ";
    case "g":
      return "signature ";
    default:
      return signature.length > 1 ? `@${signature} ` : "";
  }
}

function dataText(value: BusData, signature: string): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object") return String(value);
  const parts = memberSignatures(signature, value.length).map((member, i) => dataText(value[i]!, member));
  if (!signature.startsWith("(")) return `[${parts.join(", ")}]`;
  return `(${parts.join(", ")}${parts.length === 1 ? "," : ""})`;
}
