/** What strace -f -v has seen, and whether it is what `tsrun plan --json` says. */

export interface SeenCall {
  readonly name: string;
  /** Between the parentheses, without comments. */
  readonly args: string;
  /** -1 for every error; NaN for a call that did not return. */
  readonly result: number;
  readonly errno: string;
}

export interface PlannedStep {
  readonly process: "tsrun" | "agent" | "init";
  readonly program: string;
  readonly index: number;
  readonly call: string;
  readonly args: readonly string[];
  readonly what: string;
  readonly into?: string;
  readonly tolerate: readonly string[];
  readonly jumps: { readonly positive?: number; readonly zero?: number; readonly tolerated?: number };
  readonly retry: boolean;
}

/** The calls of each process, in order. What another process interrupted is one call again. */
export function parseStrace(text: string): Map<number, SeenCall[]> {
  const processes = new Map<number, SeenCall[]>();
  const begun = new Map<number, string>();
  for (const line of text.split("\n")) {
    const [, id, rest] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (id === undefined || rest === undefined) continue;
    const pid = Number(id);
    if (rest.endsWith("<unfinished ...>")) {
      begun.set(pid, rest.slice(0, -"<unfinished ...>".length));
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    const whole = resumed === null ? rest : joined(begun.get(pid) ?? "", resumed[1]!);
    const call = parseCall(whole);
    if (call !== undefined) processes.set(pid, [...(processes.get(pid) ?? []), call]);
  }
  return processes;
}

/** The two halves of a call that another process interrupted; strace leaves one blank or two behind the last comma. */
function joined(first: string, second: string): string {
  const begun = first.trimEnd();
  return `${begun}${begun.endsWith(",") ? " " : ""}${second.trimStart()}`;
}

function parseCall(text: string): SeenCall | undefined {
  const match = /^(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+|\?)(?: (E[A-Z0-9]+))?/s.exec(text);
  if (match === null) return undefined;
  const [, name = "", args = "", result = "", errno = ""] = match;
  return { name, args: canonical(args), result: result === "?" ? Number.NaN : Number(result), errno };
}

/** Without comments, spaces that only align, and with flags in one order. */
function canonical(args: string): string {
  const flags = /[\w<]+(?:\|[\w<]+)+/g;
  return args
    .replaceAll(/ ?\/\*.*?\*\//g, "")
    .replaceAll(/ *=> \{[^}]*\}/g, "")
    .trim()
    .replaceAll(flags, (list) => list.split("|").sort().join("|"));
}

/** Results by the names of their slots. */
export type Results = Map<string, number>;

function matches(step: PlannedStep, seen: SeenCall, results: Results): boolean {
  return step.call === seen.name && pattern(step, results).test(seen.args);
}

/** Results that are known must be the same; of the others, anything will do. */
function pattern(step: PlannedStep, results: Results): RegExp {
  const text = canonical(step.args.join(", "));
  const source = text.split(/("<state>", \d+|\[<[^\]]*>\]|\{\.\.\.\}|<[^<>|]+>(?:[+-]\d+)?)/).map((part, i) => {
    if (i % 2 === 0) return part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
    if (part.startsWith('"<state>') || part.startsWith("[<") || part === "{...}") return ".*";
    const [, name = "", by = "0"] = /^<(.*)>(.*)$/.exec(part) ?? [];
    const known = results.get(name);
    if (known === undefined) return '[^,)"]*';
    const value = known + Number(by || 0);
    return `(?:${value}|${value >>> 0}|0x${(value >>> 0).toString(16)})`;
  });
  return new RegExp(`^${source.join("")}$`, "s");
}

/** The call of the agent's own loop, and what it says to tsrun. */
function isConversation(call: SeenCall, socket: string): boolean {
  const talks = call.name === "recvfrom" || call.name === "write" || call.name === "getpid";
  return talks && (call.name === "getpid" || call.args.startsWith(`${socket},`) || call.args === socket);
}

export interface Walk {
  readonly seen: SeenCall[];
  readonly results: Results;
  /** Called with the step at which a child that the program makes and waits for goes on. */
  readonly onChild: (from: number) => void;
}

/** Follows a program from a step on, jumping as the results say; every call must be the next one planned. */
export function follow(program: readonly PlannedStep[], from: number, walk: Walk): void {
  const byIndex = new Map(program.map((step) => [step.index, step]));
  for (let at = from; byIndex.has(at); ) {
    const step = byIndex.get(at)!;
    if (step.args[0] === "<socket>") {
      at++;
      continue;
    }
    const call = walk.seen.shift();
    if (call === undefined) throw new Error(`${describe(step)}: nothing more was seen`);
    if (!matches(step, call, walk.results)) {
      throw new Error(
        `${describe(step)}\nplanned ${pattern(step, walk.results).source}\nseen    ${call.name}(${call.args})`,
      );
    }
    if (Number.isNaN(call.result)) return;
    if (step.call === "execve" && call.result === 0) return;
    if (step.retry && (call.errno === "EINTR" || call.errno === "EAGAIN")) continue;
    const result = call.result < 0 ? -errnoOf(call.errno) : call.result;
    if (step.into !== undefined) walk.results.set(step.into, result);
    if (step.call === "clone3" && step.jumps.positive !== undefined) walk.onChild(at + 1);
    at = next(step, call) ?? at + 1;
  }
}

function next(step: PlannedStep, { result, errno }: SeenCall): number | undefined {
  if (result > 0) return step.jumps.positive;
  if (result === 0) return step.jumps.zero;
  if (step.tolerate.includes(errno)) return step.jumps.tolerated;
  throw new Error(`${describe(step)}: failed with ${errno}`);
}

function errnoOf(name: string): number {
  const numbers: Record<string, number> = {
    EPERM: 1,
    ENOENT: 2,
    EBADF: 9,
    EACCES: 13,
    EBUSY: 16,
    EEXIST: 17,
    EINVAL: 22,
  };
  return numbers[name] ?? 1;
}

/** Programs that run among other calls: every planned call is seen, in this order. */
export function findInOrder(program: readonly PlannedStep[], seen: SeenCall[], results: Results): void {
  for (const step of program) {
    const at = seen.findIndex((call) => matches(step, call, results));
    if (at < 0)
      throw new Error(`${describe(step)}\nplanned ${step.call}(${pattern(step, results).source})\nwas not seen`);
    const [call] = seen.splice(0, at + 1).slice(-1);
    if (step.into !== undefined) results.set(step.into, call!.result);
  }
}

function describe({ process, program, index, call, what }: PlannedStep): string {
  return `${process}: ${program}: ${index} ${call} (${what})`;
}

/** The first process with this property of its calls. */
export function processWhere(
  processes: ReadonlyMap<number, SeenCall[]>,
  property: (calls: readonly SeenCall[]) => boolean,
): number {
  for (const [pid, calls] of processes) if (property(calls)) return pid;
  throw new Error("no such process was seen");
}

/** What a process did as the agent. */
export function agentCalls(calls: readonly SeenCall[]): SeenCall[] {
  const began = calls.findIndex(({ name, args }) => name === "execve" && args.includes('["tsrun-agent"]'));
  const own = calls.slice(began + 1);
  const socket = own.find(({ name }) => name === "recvfrom")?.args.split(",")[0] ?? "";
  return own.filter((call) => !isConversation(call, socket));
}
