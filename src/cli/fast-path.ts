import {
  argumentCount,
  type CommandName,
  camelCase,
  commandOptions,
  defaultValues,
  type Globals,
  globalOptions,
  isCommandName,
  type OptionRow,
  type OptionRows,
  type OptionValue,
  type OptionValues,
  readOption,
} from "./options.ts";

/** A command line that has been understood. */
export type Invocation = { [N in CommandName]: InvocationOf<N> }[CommandName] | VersionInvocation;

export interface InvocationOf<N extends CommandName> {
  readonly command: N;
  readonly options: OptionValues<N>;
  readonly args: readonly string[];
  readonly globals: Globals;
}

/** `--version`, with whatever follows. */
interface VersionInvocation {
  readonly command: "version";
  readonly globals: Globals;
}

/**
 * Parses a command line that is right in every respect; anything else (help, misspelt or missing options, wrong counts)
 * returns undefined and is left to yargs, which costs 20 ms to load. Options come before arguments: the first word that
 * is not an option, or follows `--`, begins the arguments. `-option` is the same as `--option`, as in Go.
 */
export function parseFast(argv: readonly string[]): Invocation | undefined {
  const global = parseOptions(argv, 0, globalOptions());
  if (global === undefined) return undefined;
  const globals = global.values as unknown as Globals;
  if (globals.version) return { command: "version", globals };
  const command = argv[global.next];
  if (command === undefined || !isCommandName(command)) return undefined;
  const own = parseOptions(argv, global.next + 1, commandOptions(command));
  if (own === undefined) return undefined;
  const args = argv.slice(own.next);
  const [least, most] = argumentCount(command);
  if (args.length < least || args.length > most) return undefined;
  return { command, options: own.values, args, globals } as unknown as Invocation;
}

interface Parsed {
  readonly values: Record<string, OptionValue>;
  /** Index of the first word after the options. */
  readonly next: number;
}

function parseOptions(argv: readonly string[], from: number, rows: OptionRows): Parsed | undefined {
  const values = defaultValues(rows);
  let at = from;
  while (at < argv.length) {
    const word = argv[at++]!;
    if (word === "--") return { values, next: at };
    if (word === "-" || !word.startsWith("-")) return { values, next: at - 1 };
    const option = splitOption(word);
    const name = longName(rows, option.name);
    if (name === undefined) return undefined;
    const row = rows[name]!;
    const text = option.text ?? (row.type === "boolean" ? "true" : argv[at++]);
    const value = text === undefined ? undefined : readOption(row, text);
    if (value === undefined) return undefined;
    setOption(values, name, row, value);
  }
  return { values, next: at };
}

/** `--name=text`, `-name=text`, `--name`, `-n`. */
export function splitOption(word: string): { readonly name: string; readonly text: string | undefined } {
  const start = word.startsWith("--") ? 2 : 1;
  const equals = word.indexOf("=");
  if (equals < 0) return { name: word.slice(start), text: undefined };
  return { name: word.slice(start, equals), text: word.slice(equals + 1) };
}

/** The key of the row that is called `name`, long or short. */
export function longName(rows: OptionRows, name: string): string | undefined {
  if (Object.hasOwn(rows, name)) return name;
  for (const key in rows) if (rows[key]?.alias?.includes(name)) return key;
  return undefined;
}

function setOption(
  values: Record<string, OptionValue>,
  name: string,
  row: OptionRow,
  value: boolean | string | number,
): void {
  const key = camelCase(name);
  if (row.repeat) (values[key] as (string | number | boolean)[]).push(value);
  else values[key] = value;
}
