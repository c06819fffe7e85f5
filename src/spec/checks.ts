/** What a document of the right shape may still get wrong: a list of small rules, each named for what it demands. */
import { deviceRulesMakeSense } from "./checks/device-rules.ts";
import { hooksCanRun } from "./checks/hooks.ts";
import {
  mappingsHaveUserNamespace,
  mountOwnersAreMapped,
  processIsMapped,
  userNamespaceHasMappings,
} from "./checks/ids.ts";
import { mountLabelFits } from "./checks/labels.ts";
import {
  devicesHaveNumbers,
  hostnameFits,
  hostnameHasUtsNamespace,
  maskedPathsAreAbsolute,
  namespacePathsAreAbsolute,
  namespacesAreUnique,
  personalityFlagsAreReserved,
  timeOffsetsHaveNamespace,
} from "./checks/linux.ts";
import { mountsMakeSense } from "./checks/mounts.ts";
import { checkProcessRules } from "./checks/process.ts";
import { addFault, type ConfigCheck, type Report } from "./checks/report.ts";
import { checkResources, resourcesMakeSense } from "./checks/resources.ts";
import { seccompMakesSense } from "./checks/seccomp.ts";
import { sysctlsAreNamespaced } from "./checks/sysctl.ts";
import type { Config, Process, Resources } from "./types.ts";

/** `tolerant`: the shape of the config is wrong; a check that trips over that says what it can. */
export function checkConfig(config: Config, tolerant: boolean): Report {
  const report: Report = { faults: [], warnings: [] };
  const { process, hostname, domainname, mounts, hooks, linux } = config;
  // Each with what it looks at: to call a function for the first time costs more than what it does.
  const checks: [subject: unknown, check: ConfigCheck][] = [
    [config, versionIsSupported],
    [config, rootIsGiven],
    [process, processIsValid],
    [linux?.uidMappings ?? linux?.gidMappings, processIsMapped],
    [linux?.uidMappings ?? linux?.gidMappings, mountOwnersAreMapped],
    [hostname ?? domainname, hostnameHasUtsNamespace],
    [hostname ?? domainname, hostnameFits],
    [mounts, mountsMakeSense],
    [hooks, hooksCanRun],
    [linux?.namespaces, namespacesAreUnique],
    [linux?.namespaces, userNamespaceHasMappings],
    [linux?.namespaces, namespacePathsAreAbsolute],
    [linux?.uidMappings ?? linux?.gidMappings, mappingsHaveUserNamespace],
    [linux?.timeOffsets, timeOffsetsHaveNamespace],
    [linux?.devices, devicesHaveNumbers],
    [linux?.resources?.devices, deviceRulesMakeSense],
    [linux?.resources, resourcesMakeSense],
    [linux?.sysctl, sysctlsAreNamespaced],
    [linux?.maskedPaths ?? linux?.readonlyPaths, maskedPathsAreAbsolute],
    [linux?.seccomp, seccompMakesSense],
    [linux?.mountLabel, mountLabelFits],
    [linux?.personality, personalityFlagsAreReserved],
  ];
  for (const [subject, check] of checks) {
    if (subject !== undefined) run(() => check(config, report), tolerant);
  }
  return report;
}

/** The file of `exec --process`: a process without the config around it. */
export function checkProcess(process: Process, tolerant: boolean): Report {
  const report: Report = { faults: [], warnings: [] };
  run(() => checkProcessRules(process, "", report), tolerant);
  return report;
}

/** The file of `update --resources`: changes to limits that it does not know. */
export function checkResourcesDocument(resources: Resources, tolerant: boolean): Report {
  const report: Report = { faults: [], warnings: [] };
  run(() => checkResources(resources, "", report), tolerant);
  return report;
}

function run(check: () => void, tolerant: boolean): void {
  try {
    check();
  } catch (error) {
    if (!tolerant) throw error;
  }
}

/** https://semver.org, "Backus–Naur Form Grammar for Valid SemVer Versions". */
const SEMVER =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$/;

/** What engines write: to compare is a tenth of the time of the first match of a regular expression. */
const KNOWN_VERSIONS = ["1.0.0", "1.0.1", "1.0.2", "1.0.2-dev", "1.1.0", "1.2.0", "1.2.1", "1.3.0"];

/** config.md "Specification version": within one major version everything is compatible. */
const versionIsSupported: ConfigCheck = ({ ociVersion }, report) => {
  if (KNOWN_VERSIONS.includes(ociVersion)) return;
  const major = SEMVER.exec(ociVersion)?.[1];
  if (major === "1") return;
  addFault(report, "/ociVersion", `found ${JSON.stringify(ociVersion)}`, "a version 1.x.y such as 1.3.0");
};

/** config.md "Root". */
const rootIsGiven: ConfigCheck = ({ root }, report) => {
  if (root === undefined) addFault(report, "/root", "missing", "an object with the path of the root file system");
  else if (root.path === "") addFault(report, "/root/path", 'found ""', "the path of a directory");
};

/** config.md "Process": needed at start only. */
const processIsValid: ConfigCheck = ({ process }, report) => {
  if (process !== undefined) checkProcessRules(process, "/process", report);
};
