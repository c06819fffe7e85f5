/**
 * One table of options per command. The fast path, yargs, completion and man pages are all made from it. The tables are
 * functions: a command pays only for its own rows.
 */

/** One option. Its long name is the key of the row; in `OptionValues` that name is in camel case. */
export interface OptionRow {
  readonly type: "boolean" | "string" | "integer";
  /** One sentence for help and man page, lower case, without a final period. */
  readonly describe: string;
  /** Other names; each is one letter. */
  readonly alias?: readonly string[];
  /** What stands for the value in help. */
  readonly value?: string;
  /** Value when the option is not given. Booleans are false without it, unless `optional`. */
  readonly default?: string | number | boolean;
  /** A boolean that stays undefined when it is not given. */
  readonly optional?: true;
  /** May be given more than once: all values, in order. Otherwise the last one counts. */
  readonly repeat?: true;
  readonly choices?: readonly string[];
  /** Range of an integer, both ends included; 0 to 2^31 - 1 without them. */
  readonly min?: number;
  readonly max?: number;
  /** Who else has it: what a caller of those runtimes may pass to tsrun. */
  readonly also: "runc" | "crun" | "both" | "none";
  /** Accepted for the sake of callers, not shown in help. */
  readonly hidden?: true;
}

export type OptionRows = Readonly<Record<string, OptionRow>>;

type CamelCase<S extends string> = S extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;

type Scalar<R> = R extends { type: "boolean" }
  ? boolean
  : R extends { type: "integer" }
    ? number
    : R extends { choices: readonly (infer Choice)[] }
      ? Choice
      : string;

type Value<R> = R extends { repeat: true } ? readonly Scalar<R>[] : Scalar<R>;

type HasValue<R> = R extends { repeat: true }
  ? true
  : R extends { optional: true }
    ? false
    : R extends { type: "boolean" } | { default: string | number | boolean }
      ? true
      : false;

/** What a table of rows parses to: `console-socket` becomes `consoleSocket`. */
export type Values<T> = {
  readonly [K in keyof T & string as HasValue<T[K]> extends true ? CamelCase<K> : never]: Value<T[K]>;
} & {
  readonly [K in keyof T & string as HasValue<T[K]> extends true ? never : CamelCase<K>]?: Value<T[K]> | undefined;
};

const none = () => ({}) as const satisfies OptionRows;

const globalRows = () =>
  ({
    root: {
      type: "string",
      value: "DIR",
      describe:
        "keep the state of containers here, preferably on tmpfs; /run/tsrun, or $XDG_RUNTIME_DIR/tsrun without root",
      also: "both",
    },
    log: {
      type: "string",
      value: "FILE",
      describe: "append warnings to this file, and errors, which standard error gets as well",
      also: "both",
    },
    "log-format": {
      type: "string",
      value: "FORMAT",
      choices: ["text", "json"],
      default: "text",
      describe: "format of the log file",
      also: "both",
    },
    "log-level": {
      type: "string",
      value: "LEVEL",
      choices: ["error", "warning", "debug"],
      default: "warning",
      describe: "least level that is logged",
      also: "crun",
    },
    debug: {
      type: "boolean",
      describe: "the same as --log-level debug; internal errors are shown with their stack",
      also: "both",
    },
    "systemd-cgroup": {
      type: "boolean",
      describe: "let systemd make the cgroup; cgroupsPath is SLICE:PREFIX:NAME then",
      also: "both",
    },
    "cgroup-manager": {
      type: "string",
      value: "MANAGER",
      choices: ["cgroupfs", "systemd", "disabled"],
      default: "cgroupfs",
      describe: "who makes the container's cgroup",
      also: "crun",
    },
    rootless: {
      type: "string",
      value: "WHEN",
      choices: ["true", "false", "auto"],
      default: "auto",
      describe: "whether to go on when a cgroup cannot be made for want of permission",
      also: "both",
    },
    trace: {
      type: "string",
      value: "FILE",
      describe: "write where the time went, for chrome://tracing or ui.perfetto.dev",
      also: "none",
    },
    version: { type: "boolean", alias: ["v", "V"], describe: "print the version and exit", also: "both" },
  }) as const satisfies OptionRows;

const createRows = () =>
  ({
    bundle: {
      type: "string",
      alias: ["b"],
      value: "DIR",
      default: ".",
      describe: "directory of the bundle",
      also: "both",
    },
    config: {
      type: "string",
      alias: ["f"],
      value: "FILE",
      describe: "read the configuration from FILE instead of the bundle's config.json",
      also: "crun",
    },
    "console-socket": {
      type: "string",
      value: "SOCKET",
      describe: "Unix socket that receives the master end of the container's terminal",
      also: "both",
    },
    "pidfd-socket": {
      type: "string",
      value: "SOCKET",
      describe: "Unix socket that receives a pidfd of the container's first process",
      also: "runc",
    },
    "pid-file": {
      type: "string",
      value: "FILE",
      describe: "write the process id of the container's first process to FILE",
      also: "both",
    },
    "no-pivot": {
      type: "boolean",
      describe:
        "enter the root file system by moving its mount and chroot(2) instead of pivot_root(2), as a root on a ramdisk needs",
      also: "both",
    },
    "no-new-keyring": {
      type: "boolean",
      describe: "keep the caller's session keyring",
      also: "both",
    },
    "preserve-fds": {
      type: "integer",
      value: "N",
      default: 0,
      max: 1_048_576,
      describe: "pass N descriptors more, from 3 on (after those of $LISTEN_FDS), to the container",
      also: "both",
    },
    "no-subreaper": { type: "boolean", describe: "ignored: tsrun create leaves nothing to wait for", also: "crun" },
  }) as const satisfies OptionRows;

const runRows = () =>
  ({
    ...createRows(),
    "no-subreaper": {
      type: "boolean",
      describe: "do not adopt orphaned processes of the container while waiting for it",
      also: "both",
    },
    detach: {
      type: "boolean",
      alias: ["d"],
      describe: "return as soon as the container runs",
      also: "both",
    },
    keep: {
      type: "boolean",
      describe: "do not delete the container when it has ended",
      also: "both",
    },
  }) as const satisfies OptionRows;

const killRows = () =>
  ({
    all: {
      type: "boolean",
      alias: ["a"],
      describe: "signal every process of the container",
      also: "both",
    },
    regex: {
      type: "boolean",
      alias: ["r"],
      describe: "ID is a regular expression: signal every container whose id it matches",
      also: "crun",
    },
  }) as const satisfies OptionRows;

const deleteRows = () =>
  ({
    force: {
      type: "boolean",
      alias: ["f"],
      describe: "kill the container first if it still runs; succeed if there is no such container",
      also: "both",
    },
    regex: {
      type: "boolean",
      alias: ["r"],
      describe: "ID is a regular expression: delete every container whose id it matches",
      also: "crun",
    },
  }) as const satisfies OptionRows;

const execRows = () =>
  ({
    "console-socket": {
      type: "string",
      value: "SOCKET",
      describe: "Unix socket that receives the master end of the process's terminal",
      also: "both",
    },
    "pidfd-socket": {
      type: "string",
      value: "SOCKET",
      describe: "Unix socket that receives a pidfd of the process",
      also: "runc",
    },
    cwd: { type: "string", value: "DIR", describe: "working directory in the container", also: "both" },
    env: {
      type: "string",
      alias: ["e"],
      value: "NAME=VALUE",
      repeat: true,
      describe: "set an environment variable",
      also: "both",
    },
    tty: { type: "boolean", alias: ["t"], describe: "give the process a terminal", also: "both" },
    user: {
      type: "string",
      alias: ["u"],
      value: "UID[:GID]",
      describe: "numeric user and group of the process",
      also: "both",
    },
    "additional-gids": {
      type: "integer",
      alias: ["g"],
      value: "GID",
      repeat: true,
      max: 4_294_967_294,
      describe: "give the process one more group",
      also: "runc",
    },
    process: {
      type: "string",
      alias: ["p"],
      value: "FILE",
      describe: "read the process (the same as config.json's) from FILE",
      also: "both",
    },
    detach: { type: "boolean", alias: ["d"], describe: "return as soon as the process runs", also: "both" },
    "pid-file": { type: "string", value: "FILE", describe: "write the process id to FILE", also: "both" },
    "process-label": {
      type: "string",
      value: "LABEL",
      describe: "SELinux label of the process, in place of the container's",
      also: "both",
    },
    apparmor: {
      type: "string",
      value: "PROFILE",
      describe: "AppArmor profile of the process, in place of the container's",
      also: "both",
    },
    "no-new-privs": {
      type: "boolean",
      optional: true,
      describe: "whether execve(2) may never give the process more privileges",
      also: "both",
    },
    cap: {
      type: "string",
      alias: ["c"],
      value: "CAP",
      repeat: true,
      describe: "give the process one more capability",
      also: "both",
    },
    "preserve-fds": {
      type: "integer",
      value: "N",
      default: 0,
      max: 1_048_576,
      describe: "pass N descriptors more, from 3 on (after those of $LISTEN_FDS), to the process",
      also: "both",
    },
    cgroup: {
      type: "string",
      value: "[CONTROLLER:]PATH",
      repeat: true,
      describe:
        "run the process in a cgroup that exists below the container's; of v1's controllers, in those named, once for each PATH",
      also: "both",
    },
    "ignore-paused": {
      type: "boolean",
      describe: "go on although the container is paused: the process is, too, until it is resumed",
      also: "runc",
    },
  }) as const satisfies OptionRows;

/** Sizes, and numbers of up to 64 bits, are texts here: container/update-options.ts reads them. */
const updateRows = () =>
  ({
    resources: {
      type: "string",
      alias: ["r"],
      value: "FILE",
      describe: "read new values from FILE, in the form of linux.resources; - is standard input",
      also: "both",
    },
    "replace-devices": {
      type: "boolean",
      describe: "replace the device rules by those of --resources too, which leaves them alone otherwise",
      also: "none",
    },
    "blkio-weight": {
      type: "integer",
      value: "WEIGHT",
      max: 1000,
      describe: "weight of reads and writes on block devices, 10 to 1000",
      also: "both",
    },
    "cpu-period": { type: "string", value: "USEC", describe: "length of a period of CPU time", also: "both" },
    "cpu-quota": {
      type: "string",
      value: "USEC",
      describe: "CPU time in each period; -1 is no limit",
      also: "both",
    },
    "cpu-burst": {
      type: "string",
      value: "USEC",
      describe: "CPU time that earlier periods may leave to later ones",
      also: "runc",
    },
    "cpu-share": { type: "string", value: "SHARES", describe: "weight of CPU time, 2 to 262144", also: "both" },
    "cpu-rt-period": {
      type: "string",
      value: "USEC",
      describe: "length of a period of real-time scheduling; cgroup v1 only",
      also: "both",
    },
    "cpu-rt-runtime": {
      type: "string",
      value: "USEC",
      describe: "time of real-time scheduling in each period; cgroup v1 only",
      also: "both",
    },
    "cpu-idle": {
      type: "integer",
      value: "0|1",
      max: 1,
      describe: "1: run only when nothing else wants to",
      also: "runc",
    },
    "cpuset-cpus": { type: "string", value: "LIST", describe: "processors to run on, such as 0-3,7", also: "both" },
    "cpuset-mems": { type: "string", value: "LIST", describe: "memory nodes to use, such as 0,1", also: "both" },
    memory: { type: "string", value: "BYTES", describe: "memory limit, such as 512m; -1 is no limit", also: "both" },
    "memory-reservation": {
      type: "string",
      value: "BYTES",
      describe: "memory that is taken away last when memory is short",
      also: "both",
    },
    "memory-swap": {
      type: "string",
      value: "BYTES",
      describe: "limit of memory and swap together; -1 is no limit",
      also: "both",
    },
    "kernel-memory": {
      type: "string",
      value: "BYTES",
      describe: "ignored with a warning: kernels have given this limit up",
      also: "both",
    },
    "kernel-memory-tcp": {
      type: "string",
      value: "BYTES",
      describe: "memory of TCP buffers; cgroup v1 only",
      also: "both",
    },
    "pids-limit": {
      type: "string",
      value: "N",
      describe: "most processes and threads at a time; -1 is no limit",
      also: "both",
    },
    "l3-cache-schema": {
      type: "string",
      value: "SCHEMA",
      describe: "refused: this version does not set Intel RDT",
      also: "both",
    },
    "mem-bw-schema": {
      type: "string",
      value: "SCHEMA",
      describe: "refused: this version does not set Intel RDT",
      also: "both",
    },
  }) as const satisfies OptionRows;

const psRows = () =>
  ({
    format: {
      type: "string",
      alias: ["f"],
      value: "FORMAT",
      choices: ["table", "json"],
      default: "table",
      describe: "table: what ps(1) prints of them; json: an array of process ids",
      also: "both",
    },
  }) as const satisfies OptionRows;

const eventsRows = () =>
  ({
    interval: {
      type: "string",
      value: "DURATION",
      default: "5s",
      describe: "time between two lines of statistics, such as 500ms, 5s or 1m30s",
      also: "runc",
    },
    stats: { type: "boolean", describe: "print the statistics once, and end", also: "runc" },
  }) as const satisfies OptionRows;

const listRows = () =>
  ({
    format: {
      type: "string",
      alias: ["f"],
      value: "FORMAT",
      choices: ["table", "json"],
      default: "table",
      describe: "format of the output",
      also: "both",
    },
    quiet: { type: "boolean", alias: ["q"], describe: "print ids only", also: "both" },
  }) as const satisfies OptionRows;

const specRows = () =>
  ({
    bundle: {
      type: "string",
      alias: ["b"],
      value: "DIR",
      default: ".",
      describe: "directory of the bundle",
      also: "both",
    },
    rootless: { type: "boolean", describe: "write a configuration that works without root", also: "both" },
    file: {
      type: "string",
      alias: ["f"],
      value: "FILE",
      default: "config.json",
      describe: "name of the file",
      also: "crun",
    },
  }) as const satisfies OptionRows;

const tryRows = () =>
  ({
    network: {
      type: "string",
      value: "MODE",
      choices: ["none", "host"],
      default: "none",
      describe: "network of the container: none, or the host's",
      also: "none",
    },
    hostname: { type: "string", value: "NAME", describe: "host name in the container", also: "none" },
    memory: { type: "string", value: "BYTES", describe: "memory limit, such as 512m or 2g", also: "none" },
    cpus: { type: "string", value: "NUMBER", describe: "processors' worth of time, such as 1.5", also: "none" },
    pids: { type: "integer", value: "N", min: 1, describe: "most processes at a time", also: "none" },
    "read-only": { type: "boolean", describe: "make the root file system read-only", also: "none" },
    mount: {
      type: "string",
      value: "SOURCE:TARGET[:OPTIONS]",
      repeat: true,
      describe: "show a file or directory of the host in the container; options as in mounts[].options, by commas",
      also: "none",
    },
    user: { type: "string", alias: ["u"], value: "UID[:GID]", describe: "numeric user and group", also: "none" },
    env: {
      type: "string",
      alias: ["e"],
      value: "NAME=VALUE",
      repeat: true,
      describe: "set an environment variable",
      also: "none",
    },
    workdir: { type: "string", alias: ["w"], value: "DIR", describe: "working directory", also: "none" },
    tty: {
      type: "boolean",
      alias: ["t"],
      optional: true,
      describe: "whether to give the command a terminal; without it, when standard input and output are terminals",
      also: "none",
    },
    keep: {
      type: "string",
      value: "DIR",
      describe: "keep what the command changed in DIR, which must be empty or not exist",
      also: "none",
    },
    name: { type: "string", value: "ID", describe: "id of the container", also: "none" },
  }) as const satisfies OptionRows;

const planRows = () => {
  const { bundle, config, "console-socket": consoleSocket, ...create } = createRows();
  return {
    bundle,
    config,
    json: { type: "boolean", describe: "print JSON", also: "none" },
    "console-socket": consoleSocket,
    "no-pivot": create["no-pivot"],
    "no-new-keyring": create["no-new-keyring"],
    "preserve-fds": create["preserve-fds"],
  } as const satisfies OptionRows;
};

const seccompRows = () =>
  ({
    syscall: { type: "string", value: "NAME", describe: "say what is decided about this system call", also: "none" },
    arg: {
      type: "string",
      value: "INDEX=VALUE",
      repeat: true,
      describe: "value of an argument of it, decimal or 0x…; 0 where not given",
      also: "none",
    },
    arch: { type: "string", value: "NAME", describe: "architecture of the caller, such as x86", also: "none" },
  }) as const satisfies OptionRows;

const tables = {
  create: createRows,
  start: none,
  run: runRows,
  state: none,
  kill: killRows,
  delete: deleteRows,
  exec: execRows,
  pause: none,
  resume: none,
  update: updateRows,
  ps: psRows,
  events: eventsRows,
  list: listRows,
  spec: specRows,
  features: none,
  try: tryRows,
  plan: planRows,
  seccomp: seccompRows,
  completion: none,
  help: none,
};

export type CommandName = keyof typeof tables;
export type OptionValues<N extends CommandName> = Values<ReturnType<(typeof tables)[N]>>;
export type Globals = Values<ReturnType<typeof globalRows>>;

/**
 * A command. `args` is what follows the options, its count already checked; `warn` reports what the caller should know
 * although the command goes on, `tell` what was the end of the container's process, on standard error and in the log.
 * Returns the exit status; throws TsrunError.
 */
export type Command<N extends CommandName> = (input: CommandInput<N>) => number;

export interface CommandInput<N extends CommandName> {
  readonly options: OptionValues<N>;
  readonly args: readonly string[];
  readonly globals: Globals;
  readonly warn: (message: string) => void;
  readonly tell: (message: string) => void;
  /** Only with --debug, so that nothing is looked up for nobody. */
  readonly explain: ((message: string) => void) | undefined;
}

export function commandNames(): CommandName[] {
  return Object.keys(tables) as CommandName[];
}

export function isCommandName(name: string): name is CommandName {
  return Object.hasOwn(tables, name);
}

export function commandOptions(name: CommandName): OptionRows {
  return tables[name]();
}

export function globalOptions(): OptionRows {
  return globalRows();
}

/** How many arguments a command takes: [least, most]. */
export function argumentCount(name: CommandName): readonly [number, number] {
  if (name === "list" || name === "spec" || name === "features") return [0, 0];
  if (name === "help" || name === "plan") return [0, 1];
  if (name === "kill") return [1, 2];
  if (name === "exec" || name === "ps" || name === "seccomp") return [1, Number.POSITIVE_INFINITY];
  if (name === "try") return [0, Number.POSITIVE_INFINITY];
  return [1, 1];
}

/** `console-socket` → `consoleSocket`. */
export function camelCase(name: string): string {
  if (!name.includes("-")) return name;
  const [first = "", ...others] = name.split("-");
  return first + others.map((word) => word.slice(0, 1).toUpperCase() + word.slice(1)).join("");
}

/** The values of `rows` when no option is given. */
export function defaultValues(rows: OptionRows): Record<string, OptionValue> {
  const values: Record<string, OptionValue> = {};
  for (const name in rows) {
    const row = rows[name]!;
    const value = row.repeat ? [] : (row.default ?? (row.type === "boolean" && !row.optional ? false : undefined));
    if (value !== undefined) values[camelCase(name)] = value;
  }
  return values;
}

export type OptionValue = boolean | string | number | string[] | number[];

/**
 * The value that `text` stands for, or undefined when the option cannot have it: integers are decimal, whole and in
 * range, choices exact, booleans `true` or `false`.
 */
export function readOption(row: OptionRow, text: string): boolean | string | number | undefined {
  if (row.type === "boolean") return text === "true" ? true : text === "false" ? false : undefined;
  if (row.type === "string") return row.choices === undefined || row.choices.includes(text) ? text : undefined;
  if (!/^-?\d{1,15}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= (row.min ?? 0) && value <= (row.max ?? 2_147_483_647) ? value : undefined;
}
