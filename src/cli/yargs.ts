import yargs from "yargs";
import { Parser } from "yargs/helpers";
import { TIOCGWINSZ } from "../abi/ioctl.ts";
import { TsrunError } from "../errors.ts";
import { sys } from "../kernel/kernel.ts";
import { suggestion } from "../spec/suggest.ts";
import { type Invocation, longName, splitOption } from "./fast-path.ts";
import {
  argumentCount,
  type CommandName,
  camelCase,
  commandNames,
  commandOptions,
  defaultValues,
  type Globals,
  globalOptions,
  isCommandName,
  type OptionRow,
  type OptionRows,
  type OptionValue,
  readOption,
} from "./options.ts";
import { commandProse } from "./prose.ts";

/** What a person's command line comes to. `globals` are known of a wrong one too when the fault lies behind them. */
export type Answer =
  | { readonly kind: "run"; readonly invocation: Invocation }
  | { readonly kind: "help"; readonly text: string; readonly status: number }
  | { readonly kind: "wrong"; readonly error: TsrunError; readonly globals: Globals };

/** Parses every command line, the wrong ones included: the slow sibling of parseFast, equal to it where that answers. */
export function parseForPeople(argv: readonly string[]): Answer {
  let globals = defaultValues(globalOptions()) as unknown as Globals;
  try {
    const global = parseStage(undefined, argv);
    globals = global.values as unknown as Globals;
    if (global.help) return { kind: "help", text: helpText(), status: 0 };
    if (globals.version) return { kind: "run", invocation: { command: "version", globals } };
    const [word, ...rest] = global.rest;
    if (word === undefined) return { kind: "help", text: helpText(), status: 1 };
    const command = mustBeCommand(word);
    const own = parseStage(command, rest);
    if (own.help) return { kind: "help", text: helpText(command), status: 0 };
    checkCount(command, own.rest.length);
    const invocation = { command, options: own.values, args: own.rest, globals } as unknown as Invocation;
    return { kind: "run", invocation };
  } catch (error) {
    if (error instanceof TsrunError) return { kind: "wrong", error, globals };
    throw error;
  }
}

export function mustBeCommand(word: string): CommandName {
  if (isCommandName(word)) return word;
  const near = suggestion(word, commandNames());
  const hint = near === undefined ? "see 'tsrun --help'" : `did you mean "${near}"? see 'tsrun --help'`;
  throw usageError(`tsrun: unknown command ${JSON.stringify(word)}`, hint);
}

interface Stage {
  readonly values: Record<string, OptionValue>;
  readonly rest: readonly string[];
  readonly help: boolean;
}

/** The options of `command`, or the global ones, up to the first argument. */
function parseStage(command: CommandName | undefined, argv: readonly string[]): Stage {
  const rows: OptionRows = { ...(command === undefined ? globalOptions() : commandOptions(command)), help: helpRow };
  const prepared = prepareWords(command, rows, argv);
  const parsed = Parser(prepared, parserOptions(rows)) as Record<string, unknown> & { _: string[] };
  const { help: _, ...own } = rows;
  const help = [parsed.help ?? []].flat().map((text) => mustBeValue(command, "help", helpRow, String(text)));
  if (help.at(-1) === true) return { values: defaultValues(own), rest: [], help: true };
  const values = defaultValues(own);
  for (const [name, row] of Object.entries(own)) {
    const given = parsed[name];
    if (given === undefined) continue;
    const all = [given].flat().map((text) => mustBeValue(command, name, row, String(text)));
    values[camelCase(name)] = row.repeat ? (all as string[] | number[]) : all.at(-1)!;
  }
  return { values, rest: parsed._, help: false };
}

const helpRow: OptionRow = { type: "boolean", alias: ["h", "?"], describe: "print this help", also: "both" };

/**
 * Words as yargs reads them in our sense: booleans get an explicit value, since yargs would take the next word for it
 * when that is `true` or `false`, as the ID in `run --detach true` may be. What is no option at all is refused here.
 */
function prepareWords(command: CommandName | undefined, rows: OptionRows, argv: readonly string[]): string[] {
  const words = [...argv];
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    if (word === "--" || word === "-" || !word.startsWith("-")) break;
    const option = splitOption(word);
    const name = longName(rows, option.name);
    if (name === undefined) throw unknownOption(command, rows, word);
    if (rows[name]!.type === "boolean") words[at] = `--${name}=${booleanText(option.text)}`;
    else if (option.text === undefined && ++at === words.length) {
      throw usageError(`option "--${name}" needs a value`, seeHelp(command));
    }
  }
  return words;
}

/** Go's spellings (strconv.ParseBool); others stay as they are and are refused later. */
function booleanText(text: string | undefined): string {
  if (text === undefined || /^(1|t|T|TRUE|True)$/.test(text)) return "true";
  return /^(0|f|F|FALSE|False)$/.test(text) ? "false" : text;
}

function parserOptions(rows: OptionRows) {
  const names = Object.keys(rows);
  return {
    // Booleans are strings here: yargs would read every other word than "true" as false.
    string: names,
    alias: Object.fromEntries(names.map((name) => [name, [...(rows[name]!.alias ?? [])]])),
    narg: Object.fromEntries(names.map((name) => [name, 1])),
    configuration: {
      "boolean-negation": false,
      "camel-case-expansion": false,
      "dot-notation": false,
      "halt-at-non-option": true,
      "nargs-eats-options": true,
      "parse-numbers": false,
      "parse-positional-numbers": false,
      "short-option-groups": false,
    },
  };
}

function mustBeValue(command: CommandName | undefined, name: string, row: OptionRow, text: string) {
  const value = readOption(row, text);
  if (value !== undefined) return value;
  const near = row.choices === undefined ? undefined : suggestion(text, row.choices);
  const hint = near === undefined ? seeHelp(command) : `did you mean "${near}"? ${seeHelp(command)}`;
  throw usageError(`option "--${name}": ${JSON.stringify(text)} is not ${expected(row)}`, hint);
}

function expected(row: OptionRow): string {
  if (row.type === "boolean") return "true or false";
  if (row.type === "string") return `one of ${row.choices?.join(", ")}`;
  return `a whole number from ${row.min ?? 0} to ${row.max ?? 2_147_483_647}`;
}

function unknownOption(command: CommandName | undefined, rows: OptionRows, word: string): TsrunError {
  const { name } = splitOption(word);
  const near = suggestion(name, Object.keys(rows));
  const where = command === undefined ? "tsrun" : `tsrun ${command}`;
  let hint = seeHelp(command);
  if (command !== undefined && longName(globalOptions(), name) !== undefined) {
    hint = `it is a global option: put it before "${command}"; ${hint}`;
  } else if (near !== undefined) hint = `did you mean "--${near}"? ${hint}`;
  return usageError(`${where}: unknown option ${JSON.stringify(word)}`, hint);
}

/** runc's wording, which callers know. */
function checkCount(command: CommandName, count: number): void {
  const [least, most] = argumentCount(command);
  if (count >= least && count <= most) return;
  const bound = least === most ? "exactly" : count < least ? "a minimum of" : "a maximum of";
  const needed = count < least ? least : most;
  throw usageError(`tsrun: "${command}" requires ${bound} ${needed} argument(s)`, seeHelp(command));
}

function seeHelp(command: CommandName | undefined): string {
  return command === undefined ? "see 'tsrun --help'" : `see 'tsrun ${command} --help'`;
}

function usageError(message: string, hint: string): TsrunError {
  return new TsrunError(message, { code: "EUSAGE", hint });
}

/** Help for one command, or for tsrun, as wide as the terminal but at most 100 columns. */
export function helpText(command?: CommandName): string {
  const rows: OptionRows = { ...(command === undefined ? globalOptions() : commandOptions(command)), help: helpRow };
  const builder = yargs([]).detectLocale(false).help(false).version(false).exitProcess(false);
  builder.wrap(Math.min(100, terminalColumns() ?? 80));
  if (command === undefined) describeAll(builder);
  else describeCommand(builder, command);
  for (const [name, row] of Object.entries(rows)) if (!row.hidden) builder.option(name, helpOption(row));
  let text = "";
  builder.showHelp((help) => {
    text = help;
  });
  return `${text}\n`;
}

type Builder = ReturnType<typeof yargs>;

function describeAll(builder: Builder): void {
  builder.scriptName("tsrun").usage("tsrun [OPTION...] COMMAND [OPTION...] [ARG...]\n\nRuns OCI containers.");
  for (const name of commandNames()) {
    const { args, summary } = commandProse(name);
    builder.command(`${name} ${args}`.trim(), summary);
  }
  builder.epilog("'tsrun COMMAND --help' tells about one command; 'tsrun try' needs no bundle.");
}

function describeCommand(builder: Builder, command: CommandName): void {
  const { args, paragraphs, examples, summary } = commandProse(command);
  const usage = `tsrun ${command} [OPTION...] ${args}`.trim();
  builder.scriptName(`tsrun ${command}`).usage(`${usage}\n\n${capital(summary)}.\n\n${paragraphs.join("\n\n")}`);
  for (const [line, what] of examples) builder.example(line, what);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function helpOption(row: OptionRow) {
  return {
    describe: row.describe,
    alias: [...(row.alias ?? [])],
    ...(row.type === "boolean" ? { type: "boolean" as const } : { requiresArg: true, type: "string" as const }),
    ...(row.choices === undefined ? {} : { choices: [...row.choices] }),
    ...(row.default === undefined || row.default === 0 ? {} : { default: row.default }),
  };
}

/** How wide the terminal is that standard output is; undefined when it is none, or does not say. */
function terminalColumns(): number | undefined {
  const size = new Uint16Array(4);
  if (sys("ioctl", 1, TIOCGWINSZ, new Uint8Array(size.buffer)) < 0 || size[1] === 0) return undefined;
  return size[1];
}
