import { describe, expect, test } from "bun:test";
import { commandNames, commandOptions } from "./options.ts";
import { helpText, parseForPeople } from "./yargs.ts";

function wrong(line: string) {
  const answer = parseForPeople(line.split(" "));
  if (answer.kind !== "wrong") throw new Error(`${line}: ${answer.kind}`);
  return [answer.error.message, answer.error.details.hint];
}

describe("a wrong command line", () => {
  test.each([
    ["creat x", 'tsrun: unknown command "creat"', `did you mean "create"? see 'tsrun --help'`],
    ["checkpoint x", 'tsrun: unknown command "checkpoint"', "see 'tsrun --help'"],
    ["create", 'tsrun: "create" requires exactly 1 argument(s)', "see 'tsrun create --help'"],
    ["exec", 'tsrun: "exec" requires a minimum of 1 argument(s)', "see 'tsrun exec --help'"],
    ["kill a b c", 'tsrun: "kill" requires a maximum of 2 argument(s)', "see 'tsrun kill --help'"],
    ["run --no-pivto x", 'tsrun run: unknown option "--no-pivto"', `did you mean "--no-pivot"? see 'tsrun run --help'`],
    ["run --bundle", 'option "--bundle" needs a value', "see 'tsrun run --help'"],
    [
      "list -f jsno",
      'option "--format": "jsno" is not one of table, json',
      `did you mean "json"? see 'tsrun list --help'`,
    ],
    [
      "run --preserve-fds=-1 x",
      'option "--preserve-fds": "-1" is not a whole number from 0 to 1048576',
      "see 'tsrun run --help'",
    ],
    ["run --keep=maybe x", 'option "--keep": "maybe" is not true or false', "see 'tsrun run --help'"],
    [
      "run --debug x",
      'tsrun run: unknown option "--debug"',
      `it is a global option: put it before "run"; see 'tsrun run --help'`,
    ],
    ["--help=x list", 'option "--help": "x" is not true or false', "see 'tsrun --help'"],
    ["--__proto__=1 list", 'tsrun: unknown option "--__proto__=1"', "see 'tsrun --help'"],
  ])("%s", (line, message, hint) => {
    expect(wrong(line)).toEqual([message, hint]);
  });

  test("is still logged where its global options say", () => {
    expect(parseForPeople(["--log", "/l", "--log-format=json", "create"])).toMatchObject({
      kind: "wrong",
      globals: { log: "/l", logFormat: "json" },
    });
  });
});

describe("help", () => {
  test.each(["--help", "-h", "-?", "--debug --help"])("%p is about tsrun", (line) => {
    const answer = parseForPeople(line.split(" "));
    expect(answer).toMatchObject({ kind: "help", status: 0, text: expect.stringContaining("Commands:") });
  });

  test("without a command it is printed as an error", () => {
    expect(parseForPeople([])).toMatchObject({ kind: "help", status: 1 });
  });

  test.each(commandNames())("of %s shows every option that is not hidden", (name) => {
    const answer = parseForPeople([name, "--help"]);
    const text = answer.kind === "help" ? answer.text : "";
    expect(text).toBe(helpText(name));
    for (const [option, row] of Object.entries(commandOptions(name))) {
      expect(text.includes(`--${option} `)).toBe(!row.hidden);
    }
  });

  test("after the ID belongs to the process", () => {
    expect(parseForPeople(["exec", "web", "ls", "--help"])).toMatchObject({ kind: "run" });
  });
});

test("Go's words for true and false", () => {
  const answer = parseForPeople(["run", "--detach=1", "--keep=F", "x"]);
  expect(answer).toMatchObject({ invocation: { options: { detach: true, keep: false } } });
});
