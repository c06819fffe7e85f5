import { ANY, allowsEverything, type DeviceException, type DeviceModel, lettersOf } from "./device-rules.ts";

/** Properties of a systemd unit: systemd.resource-control(5), "Device Access". */
export interface SystemdDevices {
  readonly DevicePolicy: "strict" | "auto";
  /** [path or group, letters]; replaces what is there when sent after an empty list. */
  readonly DeviceAllow: readonly (readonly [device: string, access: string])[];
  /** What systemd cannot say; until tsrun has written its own rules, and after `systemctl daemon-reload`, it is refused. */
  readonly missing: readonly DeviceException[];
}

/**
 * The rules as systemd has to know them, because it sets its own again on every daemon-reload: a container loses its GPU
 * otherwise. systemd only knows lists of what is allowed; of a list of what is denied nothing but "all" can be said.
 */
export function systemdDeviceAllow(model: DeviceModel): SystemdDevices {
  if (allowsEverything(model)) return { DevicePolicy: "auto", DeviceAllow: [], missing: [] };
  if (model.allowsByDefault) return { DevicePolicy: "auto", DeviceAllow: [], missing: model.exceptions };
  const allow: [string, string][] = [];
  const missing: DeviceException[] = [];
  for (const exception of model.exceptions) {
    const name = nameOf(exception);
    if (name === undefined) missing.push(exception);
    else allow.push([name, lettersOf(exception.access)]);
  }
  return { DevicePolicy: "strict", DeviceAllow: allow, missing };
}

/** A group is `char-` or `block-` and a name of /proc/devices, a major number (systemd 240 and later), or `*`. */
function nameOf({ type, major, minor }: DeviceException): string | undefined {
  const kind = type === "c" ? "char" : "block";
  if (major === ANY) return minor === ANY ? `${kind}-*` : undefined;
  return minor === ANY ? `${kind}-${major}` : `/dev/${kind}/${major}:${minor}`;
}
