import { AT_FDCWD, type Call, writeAttacker } from "../../helpers/attacker.ts";

/** The process id that everything gets that is started beside a snooper, which sees to that. */
export const PREY = 100;
const LAST_DESCRIPTOR = 20;
/** Where tsrun's agent keeps what it runs; the programs that the tests start have nothing there. */
const AGENT_MEMORY = 0x411000;

const [O_RDONLY, O_WRONLY, O_APPEND_CREAT] = [0, 1, 0o2100 | 1];
const [PTRACE_CONT, PTRACE_SEIZE] = [7, 0x4206];
const [WNOHANG, WALL] = [1, 0x40000000];

/**
 * Writes a program that looks into process PREY of its pid namespace as often as it can, by every way in which a process
 * can be looked into, and appends what it finds to `log`: a line for each find, `fd/5: socket:[1234]`. `hostFile` is a
 * path that exists on the host only. Takes CAP_CHECKPOINT_RESTORE over the pid namespace, to make process ids predictable.
 */
export function writeSnooper(path: string, log: string, hostFile: string): void {
  writeAttacker(path, snooping(log, hostFile));
}

/** Writes a program that sends a signal to process PREY of its pid namespace as soon as there is one, over and over. */
export function writeKiller(path: string, signal: number): void {
  const last = String(PREY - 1);
  writeAttacker(path, [
    { call: "openat", args: [AT_FDCWD, "/proc/sys/kernel/ns_last_pid", O_WRONLY, 0], into: "last" },
    { label: "again", call: "pwrite64", args: [{ value: "last" }, last, last.length, 0] },
    { call: "kill", args: [PREY, signal], positive: "again", zero: "again", error: "again" },
  ]);
}

function snooping(log: string, hostFile: string): Call[] {
  const prey = `/proc/${PREY}`;
  return [
    { call: "openat", args: [AT_FDCWD, log, O_APPEND_CREAT, 0o666], into: "log" },
    { call: "openat", args: [AT_FDCWD, "/proc/sys/kernel/ns_last_pid", O_WRONLY, 0], into: "last" },
    // Once it has the log and power over process ids, it can do without opening them again.
    { label: "again", call: "wait4", args: [-1, 0, WNOHANG + WALL, 0] },
    { call: "ptrace", args: [PTRACE_CONT, PREY, 0, 0] },
    { call: "pwrite64", args: [{ value: "last" }, String(PREY - 1), String(PREY - 1).length, 0] },
    { call: "faccessat", args: [AT_FDCWD, prey, 0], error: "nobody" },
    ...find("root", [{ call: "faccessat", args: [AT_FDCWD, `${prey}/root${hostFile}`, 0] }], "the host's"),
    ...find("cwd", [{ call: "faccessat", args: [AT_FDCWD, `${prey}/cwd${hostFile}`, 0] }], "the host's"),
    ...follow(prey, "exe"),
    ...Array.from({ length: LAST_DESCRIPTOR - 2 }, (_, i) => follow(prey, `fd/${i + 3}`)).flat(),
    ...["maps", "environ"].flatMap((file) => contents(prey, file)),
    ...memory(prey),
    ...trace(prey),
    ...steal(),
    { label: "nobody", call: "getppid", zero: "again", positive: "again" },
  ];
}

let labels = 0;

/** Says so when `calls` succeed. */
function find(name: string, calls: Call[], what: string): Call[] {
  const end = `end ${++labels}`;
  return [...calls.map((call) => ({ error: end, ...call })), ...report(name, what), nothing(end)];
}

const nothing = (label: string): Call => ({ call: "getppid", label });

function report(name: string, what: string | { room: string; length: string }): Call[] {
  const line = typeof what === "string" ? `${name}: ${what}\n` : `${name}: `;
  const calls: Call[] = [{ call: "write", args: [{ value: "log" }, line, line.length] }];
  if (typeof what === "string") return calls;
  const args = [{ value: "log" }, { room: what.room }, { value: what.length }] as const;
  return [...calls, { call: "write", args }, { call: "write", args: [{ value: "log" }, "\n", 1] }];
}

function follow(prey: string, name: string, as = name): Call[] {
  const end = `end ${++labels}`;
  return [
    { call: "readlinkat", args: [AT_FDCWD, `${prey}/${name}`, { room: "link" }, 300], into: "length", error: end },
    ...report(as, { room: "link", length: "length" }),
    nothing(end),
  ];
}

function contents(prey: string, name: string): Call[] {
  const end = `end ${++labels}`;
  const close = `close ${labels}`;
  return [
    { call: "openat", args: [AT_FDCWD, `${prey}/${name}`, O_RDONLY, 0], into: "file", error: end },
    { call: "read", args: [{ value: "file" }, { room: "text" }, 600], into: "length", error: close, zero: close },
    ...report(name, { room: "text", length: "length" }),
    { label: close, call: "close", args: [{ value: "file" }] },
    nothing(end),
  ];
}

function memory(prey: string): Call[] {
  const end = `end ${++labels}`;
  const close = `close ${labels}`;
  return [
    { call: "openat", args: [AT_FDCWD, `${prey}/mem`, O_RDONLY, 0], into: "file", error: end },
    { call: "pread64", args: [{ value: "file" }, { room: "text" }, 8, AGENT_MEMORY], error: close, zero: close },
    ...report("mem", "read"),
    { label: close, call: "close", args: [{ value: "file" }] },
    nothing(end),
  ];
}

/** What can be traced can be made to do anything. The link tells whom it has got. */
function trace(prey: string): Call[] {
  const end = `end ${++labels}`;
  return [
    { call: "ptrace", args: [PTRACE_SEIZE, PREY, 0, 0], error: end },
    ...follow(prey, "exe", "traced"),
    nothing(end),
  ];
}

/** pidfd_getfd(2): programs of the tests have no descriptor above 2 that could be taken. */
function steal(): Call[] {
  const end = `end ${++labels}`;
  const calls = Array.from({ length: LAST_DESCRIPTOR - 2 }, (_, i) => {
    const failed = `failed ${++labels}`;
    return [
      { call: "pidfd_getfd", args: [{ value: "pidfd" }, i + 3, 0], into: "stolen", error: failed },
      ...report("pidfd_getfd", `descriptor ${i + 3}`),
      { call: "close", args: [{ value: "stolen" }] },
      nothing(failed),
    ];
  }).flat();
  return [
    { call: "pidfd_open", args: [PREY, 0], into: "pidfd", error: end },
    ...calls,
    { call: "close", args: [{ value: "pidfd" }] },
    nothing(end),
  ];
}
