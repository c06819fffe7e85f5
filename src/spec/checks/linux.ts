import { utf8 } from "../../text.ts";
import { addFault, type ConfigCheck, checkAbsolute, checkUnique, hasNamespace } from "./report.ts";

/** config-linux.md "Namespaces": no type twice. */
export const namespacesAreUnique: ConfigCheck = ({ linux }, report) => {
  checkUnique(
    linux?.namespaces ?? [],
    ({ type }) => type,
    (at, type) =>
      addFault(report, `/linux/namespaces/${at}/type`, `malformed spec file: duplicated ns ${JSON.stringify(type)}`),
  );
};

/** An empty path is as good as none: Go cannot tell them apart. */
export const namespacePathsAreAbsolute: ConfigCheck = ({ linux }, report) => {
  for (const [at, { path }] of (linux?.namespaces ?? []).entries()) {
    if (path !== undefined && path !== "") checkAbsolute(path, `/linux/namespaces/${at}/path`, report);
  }
};

export const hostnameHasUtsNamespace: ConfigCheck = (config, report) => {
  if (hasNamespace(config, "uts")) return;
  for (const name of ["hostname", "domainname"] as const) {
    if ((config[name] ?? "") === "") continue;
    addFault(report, `/${name}`, `unable to set ${name} without a private UTS namespace`);
  }
};

/** uname(2): 64 bytes each. Up to 21 UTF-16 units are never more. */
export const hostnameFits: ConfigCheck = (config, report) => {
  for (const name of ["hostname", "domainname"] as const) {
    const text = config[name] ?? "";
    if (text.length <= 21) continue;
    const length = utf8(text).length;
    if (length > 64) addFault(report, `/${name}`, `found ${length} bytes`, "at most 64 bytes");
  }
};

/** time_namespaces(7): the offsets can be written before a process is in it, so not to one that is joined. */
export const timeOffsetsHaveNamespace: ConfigCheck = ({ linux }, report) => {
  const { timeOffsets, namespaces = [] } = linux ?? {};
  if (timeOffsets === undefined || Object.keys(timeOffsets).length === 0) return;
  const isNew = namespaces.some(({ type, path }) => type === "time" && (path ?? "") === "");
  if (!isNew) {
    addFault(
      report,
      "/linux/timeOffsets",
      "found time offsets without a new time namespace",
      'with "time" in linux.namespaces, without a path',
    );
  }
  for (const clock of ["boottime", "monotonic"] as const) {
    const nanosecs = timeOffsets[clock]?.nanosecs ?? 0;
    if (nanosecs < 1_000_000_000) continue;
    addFault(report, `/linux/timeOffsets/${clock}/nanosecs`, `found ${nanosecs}`, "less than 1000000000");
  }
};

export const maskedPathsAreAbsolute: ConfigCheck = ({ linux }, report) => {
  for (const name of ["maskedPaths", "readonlyPaths"] as const) {
    for (const [at, path] of (linux?.[name] ?? []).entries()) checkAbsolute(path, `/linux/${name}/${at}`, report);
  }
};

/** mknod(2): 12 bits of major number, 20 of minor. */
export const devicesHaveNumbers: ConfigCheck = ({ linux }, report) => {
  const devices = linux?.devices ?? [];
  for (const [at, device] of devices.entries()) {
    checkAbsolute(device.path, `/linux/devices/${at}/path`, report);
    for (const [name, bits] of [["major", 12] as const, ["minor", 20] as const]) {
      const number = device[name];
      const pointer = `/linux/devices/${at}/${name}`;
      if (number === undefined && device.type !== "p")
        addFault(report, pointer, "missing", "given unless the type is p");
      if (number !== undefined && number >= 2 ** bits)
        addFault(report, pointer, `found ${number}`, `below ${2 ** bits}`);
    }
  }
  checkUnique(
    devices,
    ({ path }) => path,
    (at, path) =>
      addFault(report, `/linux/devices/${at}/path`, `found ${JSON.stringify(path)} again`, "there only once"),
  );
};

export const personalityFlagsAreReserved: ConfigCheck = ({ linux }, report) => {
  if ((linux?.personality?.flags ?? []).length === 0) return;
  report.warnings.push("linux.personality.flags is reserved by the specification and was ignored");
};
