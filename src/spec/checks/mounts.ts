import type { Mount } from "../types.ts";
import { checkMappingList } from "./ids.ts";
import { addFault, type ConfigCheck, type Report } from "./report.ts";

/** config.md "Mounts". */
export const mountsMakeSense: ConfigCheck = ({ mounts }, report) => {
  for (const [at, mount] of (mounts ?? []).entries()) {
    checkDestination(mount, `/mounts/${at}`, report);
    if (mount.uidMappings !== undefined || mount.gidMappings !== undefined) checkIdmap(mount, `/mounts/${at}`, report);
  }
};

function checkDestination({ destination }: Mount, at: string, report: Report): void {
  if (destination === "") addFault(report, `${at}/destination`, 'found ""', "an absolute path");
  else if (!destination.startsWith("/")) {
    report.warnings.push(
      `mount destination ${JSON.stringify(destination)} is not absolute, taken as ${JSON.stringify(`/${destination}`)}: relative destinations are deprecated`,
    );
  }
}

/** Only what exists can be shown with other ids; tsrun and runc do it for bind mounts. */
function checkIdmap({ uidMappings = [], gidMappings = [], options = [] }: Mount, at: string, report: Report): void {
  if (uidMappings.length === 0 && gidMappings.length === 0) return;
  const name = uidMappings.length > 0 ? "uidMappings" : "gidMappings";
  if (!options.includes("bind") && !options.includes("rbind")) {
    addFault(
      report,
      `${at}/${name}`,
      "found id mappings on a mount of its own",
      "on a bind mount (option bind or rbind)",
    );
  }
  if (uidMappings.length === 0) addFault(report, `${at}/uidMappings`, "missing", "given together with gidMappings");
  if (gidMappings.length === 0) addFault(report, `${at}/gidMappings`, "missing", "given together with uidMappings");
  checkMappingList(uidMappings, `${at}/uidMappings`, report);
  checkMappingList(gidMappings, `${at}/gidMappings`, report);
}
