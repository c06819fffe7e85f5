import {
  type CommandName,
  commandNames,
  commandOptions,
  globalOptions,
  type OptionRow,
  type OptionRows,
} from "./options.ts";
import { commandProse } from "./prose.ts";

/** All man pages by file name: `tsrun.1`, `tsrun-create.1` … */
export function manPages(version: string): Map<string, string> {
  const pages = new Map([["tsrun.1", mainPage(version)]]);
  for (const name of commandNames()) pages.set(`tsrun-${name}.1`, commandPage(name, version));
  return pages;
}

function mainPage(version: string): string {
  const commands = commandNames().map((name) => item(`\\fBtsrun\\-${name}\\fR(1)`, `${commandProse(name).summary}.`));
  return page([
    header("tsrun", version),
    section("NAME", "tsrun \\- run OCI containers\n"),
    section("SYNOPSIS", synopsis("tsrun", "[OPTION...] COMMAND [OPTION...] [ARG...]")),
    section("DESCRIPTION", paragraphs(mainParagraphs())),
    section("OPTIONS", options(globalOptions())),
    section("COMMANDS", commands.join("")),
    section("EXIT STATUS", paragraphs([exitStatus, "Commands that run a process say more on their own pages."])),
    section("FILES", files()),
    section("ENVIRONMENT", environment()),
    section(
      "EXAMPLES",
      examples([["tsrun try", "a shell in a throw-away container"], ...commandProse("run").examples]),
    ),
    compatibility("tsrun", globalOptions()),
    section("SEE ALSO", seeAlso(undefined)),
  ]);
}

function commandPage(name: CommandName, version: string): string {
  const prose = commandProse(name);
  const title = `tsrun-${name}`;
  const rows = commandOptions(name);
  return page([
    header(title, version),
    section("NAME", `${roff(title)} \\- ${roff(prose.summary)}\n`),
    section("SYNOPSIS", synopsis(`tsrun ${name}`, `[OPTION...] ${prose.args}`.trim())),
    section("DESCRIPTION", paragraphs(prose.paragraphs)),
    section("OPTIONS", options(rows)),
    section("EXIT STATUS", paragraphs([prose.status ?? exitStatus])),
    section("EXAMPLES", examples(prose.examples)),
    compatibility(`tsrun ${name}`, rows),
    section("SEE ALSO", seeAlso(name)),
  ]);
}

const exitStatus = "0 when all went well, 1 otherwise.";

function mainParagraphs(): string[] {
  return [
    "tsrun makes and runs containers as the OCI runtime specification describes them. Engines such as containerd, Docker, podman and CRI-O call it as their runtime; people call it by hand.",
    "A bundle is a directory with a config.json and usually the container's root file system. tsrun spec writes a config.json to start from; tsrun try needs no bundle at all.",
    "Options come before arguments. -option is the same as --option, and --option=VALUE the same as --option VALUE; -- ends the options.",
    "An error is one message on standard error, with a second line, beginning with hint:, where there is something to be done about it. With --log it goes to the log file too; a JSON log line has the fields level, msg and time and, where they apply, code, step (the system call), pointer (the property of config.json) and hint.",
  ];
}

function files(): string {
  return (
    item("\\fI/run/tsrun/ID/state.json\\fR", "What tsrun keeps of a container; below --root where that is given.") +
    item("\\fIconfig.json\\fR", "The configuration of a container, in its bundle.")
  );
}

function environment(): string {
  return (
    item("\\fBXDG_RUNTIME_DIR\\fR", "Without root, the state of containers is kept in its subdirectory tsrun.") +
    item("\\fBNOTIFY_SOCKET\\fR", "Passed on to the container, see sd_notify(3).") +
    item(
      "\\fBLISTEN_FDS\\fR, \\fBLISTEN_PID\\fR",
      "Descriptors from socket activation are passed on, see sd_listen_fds(3).",
    ) +
    item(
      "\\fBBUN_COLD\\fR",
      "With any value, tsrun starts without the memory that its build has kept: some milliseconds slower, and otherwise the same.",
    )
  );
}

function page(parts: readonly string[]): string {
  return parts.join("");
}

function header(title: string, version: string): string {
  return `.\\" Made from the table of options: change src/cli/options.ts or src/cli/prose.ts instead.\n.TH ${title.toUpperCase()} 1 "" "tsrun ${version}" "User Commands"\n`;
}

function section(title: string, body: string): string {
  return body === "" ? "" : `.SH ${title}\n${body}`;
}

function synopsis(command: string, rest: string): string {
  return `\\fB${roff(command)}\\fR ${roff(rest)}\n`.replace(" \n", "\n");
}

function paragraphs(texts: readonly string[]): string {
  return texts.map((text) => lines(text)).join(".PP\n");
}

/** A sentence a line, as man pages are written. */
function lines(text: string): string {
  return `${roff(text).replaceAll(/(?<=[.;:]) (?=[A-Z])/g, "\n")}\n`;
}

function item(term: string, text: string): string {
  return `.TP\n${term}\n${lines(text)}`;
}

function options(rows: OptionRows): string {
  const shown = Object.entries(rows).filter(([, row]) => !row.hidden);
  return [
    ...shown.map(([name, row]) => item(optionTerm(name, row), optionText(row))),
    item("\\fB\\-h\\fR, \\fB\\-\\-help\\fR", "Print help."),
  ].join("");
}

/** `-b, --bundle DIR`. */
function optionTerm(name: string, row: OptionRow): string {
  const words = [...(row.alias ?? []).map((letter) => `-${letter}`), `--${name}`];
  const term = words.map((word) => `\\fB${roff(word)}\\fR`).join(", ");
  return row.value === undefined ? term : `${term} \\fI${roff(row.value)}\\fR`;
}

function optionText(row: OptionRow): string {
  let text = `${row.describe.charAt(0).toUpperCase()}${row.describe.slice(1)}.`;
  if (row.choices !== undefined) text += ` One of ${row.choices.join(", ")}.`;
  if (row.repeat) text += " May be given more than once.";
  if (typeof row.default === "string") text += ` Default: ${row.default}`;
  return text;
}

function examples(list: Iterable<readonly [string, string]>): string {
  let text = "";
  for (const [line, what] of list)
    text += item(`\\fB${roff(line)}\\fR`, `${what.charAt(0).toUpperCase()}${what.slice(1)}.`);
  return text;
}

/** Which of the options other runtimes have as well; nothing for commands that are tsrun's own. */
function compatibility(command: string, rows: OptionRows): string {
  const only = (who: OptionRow["also"]) =>
    Object.entries(rows)
      .filter(([, row]) => row.also === who)
      .map(([name]) => `--${name}`);
  const shared = only("both").length + only("runc").length + only("crun").length;
  if (shared === 0) return "";
  const texts = [];
  if (only("runc").length > 0) texts.push(`Of runc and crun, only runc has ${only("runc").join(", ")}.`);
  if (only("crun").length > 0) texts.push(`Of runc and crun, only crun has ${only("crun").join(", ")}.`);
  if (only("none").length > 0) texts.push(`Only tsrun has ${only("none").join(", ")}.`);
  const rest = texts.length === 0 ? "All" : "All other";
  return section(
    "COMPATIBILITY",
    lines([...texts, `${rest} options of ${command} are those of runc and crun.`].join(" ")),
  );
}

function seeAlso(name: CommandName | undefined): string {
  const near: Partial<Record<CommandName, readonly CommandName[]>> = {
    create: ["start", "run", "delete", "plan"],
    start: ["create", "run"],
    run: ["create", "exec", "kill"],
    state: ["list"],
    kill: ["delete"],
    delete: ["kill"],
    exec: ["run"],
    list: ["state"],
    spec: ["create", "try"],
    try: ["run", "spec"],
    plan: ["create"],
    seccomp: ["plan", "features"],
  };
  const pages = name === undefined ? ["run", "try"] : (near[name] ?? []);
  const names = [...(name === undefined ? [] : ["tsrun"]), ...pages.map((page) => `tsrun-${page}`)];
  return `${names.map((page) => `\\fB${roff(page)}\\fR(1)`).join(", ")}, https://github.com/opencontainers/runtime\\-spec\n`;
}

/** Plain text for roff: no character is a request, none is changed by typesetting. */
function roff(text: string): string {
  const special: Record<string, string> = {
    "\\": "\\(rs",
    "-": "\\-",
    "'": "\\(aq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
  };
  return text.replaceAll(/[\\\-'`^~]/g, (letter) => special[letter] ?? letter).replace(/^\./, "\\&.");
}
