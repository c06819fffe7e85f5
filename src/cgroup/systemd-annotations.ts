import { TsrunError } from "../errors.ts";
import { parseVariant, type TypedValue } from "./gvariant.ts";
import { INFINITY, type UnitProperty } from "./unit-property.ts";

const PREFIX = "org.systemd.property.";

/**
 * The unit properties that annotations ask for: `org.systemd.property.TimeoutStopUSec: "uint64 5000000"`. What ends in
 * `Sec` is in seconds, as in unit files, and becomes the `USec` that D-Bus has.
 */
export function annotatedProperties(annotations: Readonly<Record<string, string>> | undefined): UnitProperty[] {
  const properties: UnitProperty[] = [];
  for (const [key, text] of Object.entries(annotations ?? {})) {
    if (key.startsWith(PREFIX)) properties.push(annotated(key, key.slice(PREFIX.length), text));
  }
  return properties;
}

function annotated(key: string, name: string, text: string): UnitProperty {
  checkName(key, name);
  const value = parseVariant(text);
  if (typeof value === "string") {
    const hint = `values are such as true, 'text', uint64 5, or ['a', 'b']`;
    throw wrong(key, `cannot read ${JSON.stringify(text)} as a value: ${value}`, hint);
  }
  if (!/[a-z]Sec$/.test(name)) return { name, ...value };
  return { name: `${name.slice(0, -"Sec".length)}USec`, ...microseconds(key, text, value) };
}

/** What tsrun itself says with every scope, and the container depends on. */
const TSRUNS_OWN = ["PIDs", "Slice"];

function checkName(key: string, name: string): void {
  const hint = "the names are in systemctl show, and in org.freedesktop.systemd1(5)";
  if (name.length < 3) throw wrong(key, "the name of a systemd property has at least 3 letters", hint);
  if (!/^[A-Za-z]+$/.test(name)) throw wrong(key, "the name of a systemd property has letters only", hint);
  if (!TSRUNS_OWN.includes(name)) return;
  throw wrong(key, `cannot set the systemd property ${name}: it is tsrun's own`, "linux.cgroupsPath names the slice");
}

function microseconds(key: string, text: string, { signature, value }: TypedValue): TypedValue {
  const seconds = "nqiuxtd".includes(signature) ? Number(value) : Number.NaN;
  if (seconds === Number.POSITIVE_INFINITY) return { signature: "t", value: INFINITY };
  if (seconds >= 0 && seconds * 1e6 < 2 ** 63) return { signature: "t", value: BigInt(Math.round(seconds * 1e6)) };
  throw wrong(key, `cannot read ${JSON.stringify(text)} as a number of seconds`, "give a number, 1.5 or uint32 90");
}

function wrong(key: string, message: string, hint: string): TsrunError {
  const pointer = `/annotations/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
  return new TsrunError(`${message} (annotations[${JSON.stringify(key)}])`, { code: "EINVALIDCONFIG", pointer, hint });
}
