import type { Process, Scheduler } from "../types.ts";
import { checkProcessLabels } from "./labels.ts";
import { addFault, checkEnvironment, checkUnique, type Report } from "./report.ts";

/** Looks at one rule of a process; `at` is the pointer of the process, for the pointers of faults. */
type ProcessCheck = (process: Process, at: string, report: Report) => void;

/** config.md "Process". The list is in the order of its properties. */
export function checkProcessRules(process: Process, at: string, report: Report): void {
  const { scheduler, ioPriority, execCPUAffinity, rlimits, consoleSize, user, apparmorProfile, selinuxLabel } = process;
  // Each with what it looks at: to call a function for the first time costs more than what it does.
  const checks: [subject: unknown, check: ProcessCheck][] = [
    [process, checkArgs],
    [process, checkCwd],
    [process, checkEnv],
    [rlimits, checkRlimits],
    [apparmorProfile ?? selinuxLabel, checkProcessLabels],
    [scheduler, checkScheduler],
    [ioPriority, checkIoPriority],
    [execCPUAffinity, checkExecCpuAffinity],
    [user, checkIds],
    [user?.umask, checkUmask],
    [consoleSize, checkConsoleSize],
  ];
  for (const [subject, check] of checks) if (subject !== undefined) check(process, at, report);
}

const checkArgs: ProcessCheck = ({ args }, at, report) => {
  if (args.length === 0) addFault(report, `${at}/args`, "args must not be empty");
};

const checkCwd: ProcessCheck = ({ cwd }, at, report) => {
  if (cwd === "") addFault(report, `${at}/cwd`, "Cwd property must not be empty");
  else if (!cwd.startsWith("/"))
    addFault(report, `${at}/cwd`, `Cwd must be an absolute path, found ${JSON.stringify(cwd)}`);
};

/** setresuid(2), setresgid(2) and setgroups(2) take 4294967295 for -1, which means "leave as it is": root, here. */
const checkIds: ProcessCheck = ({ user = {} }, at, report) => {
  const NO_ID = 0xffffffff;
  const check = (id: number | undefined, name: string): void => {
    if (id === NO_ID) addFault(report, `${at}/user/${name}`, `found ${id}`, `at most ${NO_ID - 1}`);
  };
  check(user.uid, "uid");
  check(user.gid, "gid");
  for (const [index, gid] of (user.additionalGids ?? []).entries()) check(gid, `additionalGids/${index}`);
};

const checkEnv: ProcessCheck = ({ env }, at, report) => checkEnvironment(env, `${at}/env`, report);

/** getrlimit(2). */
const RLIMITS = [
  "RLIMIT_AS",
  "RLIMIT_CORE",
  "RLIMIT_CPU",
  "RLIMIT_DATA",
  "RLIMIT_FSIZE",
  "RLIMIT_LOCKS",
  "RLIMIT_MEMLOCK",
  "RLIMIT_MSGQUEUE",
  "RLIMIT_NICE",
  "RLIMIT_NOFILE",
  "RLIMIT_NPROC",
  "RLIMIT_RSS",
  "RLIMIT_RTPRIO",
  "RLIMIT_RTTIME",
  "RLIMIT_SIGPENDING",
  "RLIMIT_STACK",
];

const checkRlimits: ProcessCheck = ({ rlimits = [] }, at, report) => {
  for (const [index, { type, soft, hard }] of rlimits.entries()) {
    const pointer = `${at}/rlimits/${index}`;
    if (!RLIMITS.includes(type)) {
      addFault(report, `${pointer}/type`, `found ${JSON.stringify(type)}`, `one of ${RLIMITS.join(", ")}`);
    }
    if (soft > hard) addFault(report, `${pointer}/soft`, `found ${soft}`, `at most the hard limit ${hard}`);
  }
  checkUnique(
    rlimits,
    ({ type }) => type,
    (index, type) => addFault(report, `${at}/rlimits/${index}/type`, `duplicated rlimit ${type}`, "there only once"),
  );
};

/** sched(7); runc has the same rules. */
const checkScheduler: ProcessCheck = ({ scheduler }, at, report) => {
  if (scheduler === undefined) return;
  checkNice(scheduler, `${at}/scheduler`, report);
  checkPriority(scheduler, `${at}/scheduler`, report);
  if (scheduler.policy === "SCHED_DEADLINE") return;
  for (const name of ["runtime", "deadline", "period"] as const) {
    if (Number(scheduler[name] ?? 0) === 0) continue;
    addFault(
      report,
      `${at}/scheduler/${name}`,
      `found ${scheduler[name]}`,
      `absent: only SCHED_DEADLINE has a ${name}`,
    );
  }
};

function checkNice({ policy, nice = 0 }: Scheduler, at: string, report: Report): void {
  const hasNice = policy === "SCHED_OTHER" || policy === "SCHED_BATCH";
  if (hasNice && (nice < -20 || nice > 19))
    addFault(report, `${at}/nice`, `found ${nice}`, "an integer from -20 to 19");
}

function checkPriority({ policy, priority = 0 }: Scheduler, at: string, report: Report): void {
  const isRealTime = policy === "SCHED_FIFO" || policy === "SCHED_RR";
  if (isRealTime && (priority < 1 || priority > 99)) {
    addFault(report, `${at}/priority`, `found ${priority}`, `an integer from 1 to 99 for ${policy}`);
  } else if (!isRealTime && priority !== 0) {
    addFault(report, `${at}/priority`, `found ${priority}`, "absent: only SCHED_FIFO and SCHED_RR have a priority");
  }
}

const checkIoPriority: ProcessCheck = ({ ioPriority }, at, report) => {
  const priority = ioPriority?.priority ?? 0;
  if (priority >= 0 && priority <= 7) return;
  addFault(report, `${at}/ioPriority/priority`, `found ${priority}`, "an integer from 0 to 7");
};

const CPU_LIST = /^(\s*\d+(-\d+)?\s*(,|$))*$/;

const checkExecCpuAffinity: ProcessCheck = ({ execCPUAffinity }, at, report) => {
  for (const name of ["initial", "final"] as const) {
    const list = execCPUAffinity?.[name] ?? "";
    if (list === "" || (CPU_LIST.test(list) && !list.trimEnd().endsWith(","))) continue;
    addFault(report, `${at}/execCPUAffinity/${name}`, `found ${JSON.stringify(list)}`, "a list of CPUs such as 0-3,7");
  }
};

const checkUmask: ProcessCheck = ({ user }, at, report) => {
  const mask = user?.umask ?? 0;
  if (mask > 0o777) addFault(report, `${at}/user/umask`, `found ${mask}`, "from 0 to 511 (0777)");
};

/** struct winsize has 16 bits for each: ioctl_tty(2). Without a terminal the size is ignored, as the specification says. */
const checkConsoleSize: ProcessCheck = ({ terminal, consoleSize }, at, report) => {
  if (terminal !== true || consoleSize === undefined) return;
  for (const name of ["height", "width"] as const) {
    if (consoleSize[name] <= 65535) continue;
    addFault(report, `${at}/consoleSize/${name}`, `found ${consoleSize[name]}`, "at most 65535");
  }
};
