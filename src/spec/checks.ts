/** What a document of the right shape may still get wrong: a list of small rules, each named for what it demands. */
import { hooksCanRun } from "./checks/hooks.ts";
import { mappingsHaveUserNamespace, processIsMapped } from "./checks/ids.ts";
import {
  cgroupsPathIsText,
  devicesHaveNumbers,
  hostnameFits,
  hostnameHasUtsNamespace,
  maskedPathsAreAbsolute,
  namespacePathsAreAbsolute,
  namespacesAreUnique,
  personalityFlagsAreReserved,
  seccompNotifyHasListener,
  timeOffsetsHaveNamespace,
} from "./checks/linux.ts";
import { mountsMakeSense } from "./checks/mounts.ts";
import { checkProcessRules } from "./checks/process.ts";
import { addFault, type ConfigCheck, checkNoNul, type Report } from "./checks/report.ts";
import { sysctlsAreNamespaced } from "./checks/sysctl.ts";
import type { Config, Process } from "./types.ts";

export function checkConfig(config: Config): Report {
  const report: Report = { faults: [], warnings: [] };
  const checks: ConfigCheck[] = [
    versionIsSupported,
    rootIsGiven,
    processIsValid,
    processIsMapped,
    hostnameHasUtsNamespace,
    hostnameFits,
    mountsMakeSense,
    hooksCanRun,
    namespacesAreUnique,
    namespacePathsAreAbsolute,
    mappingsHaveUserNamespace,
    timeOffsetsHaveNamespace,
    devicesHaveNumbers,
    sysctlsAreNamespaced,
    maskedPathsAreAbsolute,
    cgroupsPathIsText,
    seccompNotifyHasListener,
    personalityFlagsAreReserved,
  ];
  for (const check of checks) check(config, report);
  return report;
}

/** The file of `exec --process`: a process without the config around it. */
export function checkProcess(process: Process): Report {
  const report: Report = { faults: [], warnings: [] };
  checkProcessRules(process, "", report);
  return report;
}

/** https://semver.org, "Backus–Naur Form Grammar for Valid SemVer Versions". */
const SEMVER =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$/;

/** config.md "Specification version": within one major version everything is compatible. */
const versionIsSupported: ConfigCheck = ({ ociVersion }, report) => {
  const major = SEMVER.exec(ociVersion)?.[1];
  if (major === "1") return;
  addFault(report, "/ociVersion", `found ${JSON.stringify(ociVersion)}`, "a version 1.x.y such as 1.3.0");
};

/** config.md "Root". */
const rootIsGiven: ConfigCheck = ({ root }, report) => {
  if (root === undefined) addFault(report, "/root", "missing", "an object with the path of the root file system");
  else if (root.path === "") addFault(report, "/root/path", 'found ""', "the path of a directory");
  else checkNoNul(root.path, "/root/path", report);
};

/** config.md "Process": needed at start only. */
const processIsValid: ConfigCheck = ({ process }, report) => {
  if (process !== undefined) checkProcessRules(process, "/process", report);
};
