import type { IdMapping } from "../types.ts";
import { addFault, type ConfigCheck, hasNamespace, type Report } from "./report.ts";

/** The highest number of 32 bits is no id: (uid_t) -1 means "leave as it is". */
const IDS = 2 ** 32 - 1;
/** user_namespaces(7): the kernel takes that many lines. */
const MAX_MAPPINGS = 340;

/** user_namespaces(7) "User and group ID mappings". */
export const mappingsHaveUserNamespace: ConfigCheck = (config, report) => {
  for (const name of ["uidMappings", "gidMappings"] as const) {
    const list = config.linux?.[name] ?? [];
    if (list.length === 0) continue;
    if (!hasNamespace(config, "user")) {
      addFault(
        report,
        `/linux/${name}`,
        "found id mappings without a user namespace",
        'with "user" in linux.namespaces',
      );
    }
    checkMappingList(list, `/linux/${name}`, report);
  }
};

/** A process in a user namespace without maps is nobody, and cannot become anybody. */
export const userNamespaceHasMappings: ConfigCheck = ({ linux }, report) => {
  const isNew = linux?.namespaces?.some(({ type, path = "" }) => type === "user" && path === "") ?? false;
  if (!isNew) return;
  for (const name of ["uidMappings", "gidMappings"] as const) {
    if ((linux?.[name] ?? []).length > 0) continue;
    addFault(report, `/linux/${name}`, "missing", "the ids of the new user namespace");
  }
};

/** No id twice on either side, none beyond 32 bits, not more than the kernel takes. */
export function checkMappingList(list: readonly IdMapping[], pointer: string, report: Report): void {
  if (list.length > MAX_MAPPINGS) {
    addFault(report, pointer, `found ${list.length} mappings`, `at most ${MAX_MAPPINGS}`);
  }
  for (const [at, { containerID, hostID, size }] of list.entries()) {
    if (size === 0) addFault(report, `${pointer}/${at}/size`, "found 0 (number)", "at least 1");
    if (Math.max(containerID, hostID) + size > IDS) {
      addFault(report, `${pointer}/${at}/size`, `found ${size} (number)`, "so that no id is above 4294967294");
    }
  }
  for (const side of ["containerID", "hostID"] as const) checkOverlap(list, side, pointer, report);
}

function checkOverlap(
  list: readonly IdMapping[],
  side: "containerID" | "hostID",
  pointer: string,
  report: Report,
): void {
  const sorted = [...list.entries()].sort(([, a], [, b]) => a[side] - b[side]);
  for (const [at, [index, mapping]] of sorted.entries()) {
    const [otherIndex, other] = sorted[at - 1] ?? [];
    if (other === undefined || other[side] + other.size <= mapping[side]) continue;
    addFault(
      report,
      `${pointer}/${index}/${side}`,
      `found ${mapping[side]}`,
      `outside of entry ${otherIndex}, which overlaps`,
    );
  }
}

/** The process and its groups have ids inside the container. */
export const processIsMapped: ConfigCheck = (config, report) => {
  const user = config.process?.user;
  if (user === undefined || !hasNamespace(config, "user")) return;
  const { uidMappings, gidMappings } = config.linux ?? {};
  checkMapped(user.uid ?? 0, uidMappings, "/process/user/uid", report);
  checkMapped(user.gid ?? 0, gidMappings, "/process/user/gid", report);
  for (const [at, gid] of (user.additionalGids ?? []).entries()) {
    checkMapped(gid, gidMappings, `/process/user/additionalGids/${at}`, report);
  }
};

/** What a file system of a user namespace belongs to has to be there: the kernel says no more than "invalid argument". */
export const mountOwnersAreMapped: ConfigCheck = (config, report) => {
  const { uidMappings, gidMappings } = config.linux ?? {};
  for (const [at, { type, options = [] }] of (config.mounts ?? []).entries()) {
    if (type !== "tmpfs" && type !== "devpts") continue;
    for (const [index, option] of options.entries()) {
      const [, name, id] = /^([ug]id)=(\d{1,10})$/.exec(option) ?? [];
      const mappings = name === "uid" ? uidMappings : gidMappings;
      if (id !== undefined) checkMapped(Number(id), mappings, `/mounts/${at}/options/${index}`, report, `${name}=`);
    }
  }
};

function checkMapped(
  id: number,
  mappings: readonly IdMapping[] | undefined,
  pointer: string,
  report: Report,
  prefix = "",
): void {
  if (mappings === undefined || mappings.length === 0) return;
  // A mapping whose shape is wrong is a fault of its own, and says nothing of the ids.
  if (mappings.some(({ containerID, size }) => !Number.isInteger(containerID + size))) return;
  if (mappings.some(({ containerID, size }) => id >= containerID && id < containerID + size)) return;
  const ranges = mappings.slice(0, 5).map(({ containerID, size }) => `${containerID} to ${containerID + size - 1}`);
  addFault(report, pointer, `found ${prefix}${id}`, `mapped in the user namespace: ${ranges.join(", ")}`);
}
