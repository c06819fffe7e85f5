import {
  type CommandName,
  commandNames,
  commandOptions,
  globalOptions,
  type OptionRow,
  type OptionRows,
} from "./options.ts";
import { commandProse } from "./prose.ts";

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

/** The completion script for a shell, made from the table of options. */
export function completionScript(shell: Shell): string {
  if (shell === "bash") return bashScript();
  return shell === "zsh" ? zshScript() : fishScript();
}

/** What the first argument of a command is. */
function argumentKind(command: CommandName): "id" | "command" | "shell" | "other" {
  if (command === "help") return "command";
  if (command === "completion") return "shell";
  const ids: readonly CommandName[] = [
    "start",
    "state",
    "kill",
    "delete",
    "exec",
    "pause",
    "resume",
    "update",
    "ps",
    "events",
  ];
  return ids.includes(command) ? "id" : "other";
}

function valueKind(row: OptionRow): "choices" | "directory" | "file" | "text" {
  if (row.choices !== undefined) return "choices";
  if (row.value === "DIR") return "directory";
  return row.value === "FILE" || row.value === "SOCKET" ? "file" : "text";
}

/** `--bundle`, `-b`. */
function spellings(name: string, row: OptionRow): string[] {
  return [`--${name}`, ...(row.alias ?? []).map((letter) => `-${letter}`)];
}

function visible(rows: OptionRows): [string, OptionRow][] {
  return Object.entries(rows).filter(([, row]) => !row.hidden);
}

function withValue(rows: OptionRows): [string, OptionRow][] {
  return visible(rows).filter(([, row]) => row.type !== "boolean");
}

const signals = "HUP INT QUIT KILL USR1 USR2 TERM CONT STOP WINCH";

function bashScript(): string {
  const stages: [string, OptionRows][] = [["", globalOptions()]];
  for (const name of commandNames()) stages.push([name, commandOptions(name)]);
  return `# bash completion for tsrun
_tsrun() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} command= args=0 i=1
  local -a root=()
  while ((i < COMP_CWORD)); do
    case "$command \${COMP_WORDS[i]}" in
      " --root") root=(--root "\${COMP_WORDS[i + 1]}"); i=$((i + 1)) ;;
${stages.map(([command, rows]) => bashSkip(command, rows)).join("")}      *" -"*) ;;
      " "*) command=\${COMP_WORDS[i]} ;;
      *) args=$((args + 1)); [[ $command == exec || $command == try ]] && break ;;
    esac
    i=$((i + 1))
  done
  COMPREPLY=()
  if ((args == 0)); then
    case "$command $prev" in
${stages.map(([command, rows]) => bashValues(command, rows)).join("")}    esac
    if [[ $cur == -* ]]; then
      case $command in
${stages.map(([command, rows]) => bashOptions(command, rows)).join("")}      esac
      return
    fi
  fi
  case "$command $args" in
    " 0") COMPREPLY=($(compgen -W "${commandNames().join(" ")}" -- "$cur")) ;;
${commandNames().map(bashArgument).join("")}    "kill 1") COMPREPLY=($(compgen -W "${signals}" -- "$cur")) ;;
  esac
}
complete -o default -F _tsrun tsrun
`;
}

/** Options whose value is the next word, which is not an argument then. */
function bashSkip(command: string, rows: OptionRows): string {
  const words = withValue(rows).flatMap(([name, row]) => spellings(name, row));
  const patterns = words.filter((word) => word !== "--root").map((word) => `"${command} ${word}"`);
  return patterns.length === 0 ? "" : `      ${patterns.join(" | ")}) i=$((i + 1)) ;;\n`;
}

function bashValues(command: string, rows: OptionRows): string {
  let cases = "";
  for (const [name, row] of withValue(rows)) {
    const pattern = spellings(name, row)
      .map((word) => `"${command} ${word}"`)
      .join(" | ");
    cases += `      ${pattern}) ${bashCandidates(row)}return ;;\n`;
  }
  return cases;
}

function bashCandidates(row: OptionRow): string {
  const kind = valueKind(row);
  if (kind === "choices") return `COMPREPLY=($(compgen -W "${row.choices?.join(" ")}" -- "$cur")); `;
  return kind === "directory" ? `COMPREPLY=($(compgen -d -- "$cur")); ` : "";
}

function bashOptions(command: string, rows: OptionRows): string {
  const words = visible(rows).flatMap(([name, row]) => spellings(name, row));
  return `        "${command}") COMPREPLY=($(compgen -W "${[...words, "--help", "-h"].join(" ")}" -- "$cur")) ;;\n`;
}

function bashArgument(command: CommandName): string {
  const kind = argumentKind(command);
  if (kind === "other") return "";
  const words = {
    id: `$(tsrun "\${root[@]}" list -q 2>/dev/null)`,
    command: commandNames().join(" "),
    shell: shells.join(" "),
  };
  return `    "${command} 0") COMPREPLY=($(compgen -W "${words[kind]}" -- "$cur")) ;;\n`;
}

function zshScript(): string {
  const commands = commandNames().map((name) => `    ${zshQuote(`${name}:${commandProse(name).summary}`)}`);
  return `#compdef tsrun
_tsrun_ids() {
  local -a ids
  ids=(\${(f)"$(tsrun $tsrun_root list -q 2>/dev/null)"})
  compadd -a ids
}
_tsrun_commands() {
  local -a commands=(
${commands.join("\n")}
  )
  _describe command commands
}
_tsrun() {
  local curcontext=$curcontext state
  local -a line tsrun_root
  typeset -A opt_args
  _arguments -C -A "-*" ${zshOptions(globalOptions())} '1:command:_tsrun_commands' '*::argument:->arguments' && return
  [[ $state == arguments ]] || return
  [[ -n $opt_args[--root] ]] && tsrun_root=(--root $opt_args[--root])
  case $line[1] in
${commandNames().map(zshCommand).join("")}  esac
}
if [[ $funcstack[1] == _tsrun ]]; then _tsrun "$@"; else compdef _tsrun tsrun; fi
`;
}

function zshCommand(command: CommandName): string {
  const kind = argumentKind(command);
  const first = {
    id: "'1:id:_tsrun_ids'",
    command: "'1:command:_tsrun_commands'",
    shell: `'1:shell:(${shells.join(" ")})'`,
  };
  let args = kind === "other" ? "" : first[kind];
  if (command === "kill") args += ` '2:signal:(${signals})'`;
  if (command === "exec") args += " '*:::command:_normal'";
  if (command === "try") args = "'*:::command:_normal'";
  return `    ${command}) _arguments -A "-*" ${zshOptions(commandOptions(command))} ${args} ;;\n`;
}

function zshOptions(rows: OptionRows): string {
  const help = "'(-h --help)'{-h,--help}'[print help]'";
  return [...visible(rows).map(([name, row]) => zshOption(name, row)), help].join(" ");
}

/** `'(-b --bundle)'{-b,--bundle=}'[text]:DIR:_files -/'`. */
function zshOption(name: string, row: OptionRow): string {
  const words = spellings(name, row);
  const taken = row.repeat ? "*" : `(${words.join(" ")})`;
  const written = words.map((word) => (row.type !== "boolean" && word.startsWith("--") ? `${word}=` : word));
  const list = written.length === 1 ? written[0] : `{${written.join(",")}}`;
  return `${zshQuote(taken)}${list}${zshQuote(`[${row.describe.replaceAll(/[[\]\\]/g, "\\$&")}]${zshValue(row)}`)}`;
}

function zshValue(row: OptionRow): string {
  if (row.type === "boolean") return "";
  const kind = valueKind(row);
  const action = { choices: `(${row.choices?.join(" ")})`, directory: "_files -/", file: "_files", text: " " }[kind];
  return `:${(row.value ?? "VALUE").replaceAll(/[:\\]/g, "\\$&")}:${action}`;
}

function zshQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function fishScript(): string {
  const names = commandNames();
  const lines = ["# fish completion for tsrun", "complete -c tsrun -f"];
  const noCommand = `not __fish_seen_subcommand_from ${names.join(" ")}`;
  for (const name of names) {
    lines.push(`complete -c tsrun -n ${fishQuote(noCommand)} -a ${name} -d ${fishQuote(commandProse(name).summary)}`);
  }
  lines.push(...fishOptions(noCommand, globalOptions()));
  for (const name of names) {
    const condition = `__fish_seen_subcommand_from ${name}`;
    lines.push(...fishOptions(condition, commandOptions(name)), ...fishArgument(name, condition));
  }
  return `${lines.join("\n")}\n`;
}

function fishOptions(condition: string, rows: OptionRows): string[] {
  const help = `complete -c tsrun -n ${fishQuote(condition)} -l help -s h -d 'print help'`;
  return [...visible(rows).map(([name, row]) => fishOption(condition, name, row)), help];
}

function fishOption(condition: string, name: string, row: OptionRow): string {
  const letters = (row.alias ?? []).map((letter) => ` -s ${letter}`).join("");
  const kind = valueKind(row);
  const candidates = {
    choices: ` -x -a ${fishQuote(row.choices?.join(" ") ?? "")}`,
    directory: " -x -a '(__fish_complete_directories)'",
    file: " -r -F",
    text: " -x",
  };
  const value = row.type === "boolean" ? "" : candidates[kind];
  return `complete -c tsrun -n ${fishQuote(condition)} -l ${name}${letters}${value} -d ${fishQuote(row.describe)}`;
}

function fishArgument(command: CommandName, condition: string): string[] {
  const kind = argumentKind(command);
  if (kind === "other") return [];
  const words = { id: "(tsrun list -q 2>/dev/null)", command: commandNames().join(" "), shell: shells.join(" ") };
  return [`complete -c tsrun -n ${fishQuote(condition)} -a ${fishQuote(words[kind])}`];
}

function fishQuote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
