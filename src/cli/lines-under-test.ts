/** Command lines for the tests of both parsers. */
import fc from "fast-check";
import { commandNames, commandOptions, globalOptions, type OptionRow, type OptionRows } from "./options.ts";

/** A word that is likely to matter to these rows. */
function words(rows: OptionRows): fc.Arbitrary<string[]> {
  const plain = fc.constantFrom(
    "",
    "-",
    "--",
    "---",
    "-5",
    "-5.5",
    "true",
    "false",
    "a",
    "ls",
    "-x",
    "x=y",
    "'q'",
    '"q"',
    "-help",
    "--no-tty",
  );
  const text = fc.oneof(
    plain,
    fc.string({ maxLength: 6 }),
    fc.constantFrom("0", "7", "-1", "1e3", "007", "99999999999", "json", "table", "host", "{}", "__proto__"),
  );
  const known = fc.constantFrom(...(Object.entries(rows) as [string, OptionRow][]), [
    "nonsense",
    { type: "string" } as OptionRow,
  ] as [string, OptionRow]);
  const option = fc
    .tuple(known, fc.nat(5), fc.constantFrom("-", "--"), fc.boolean(), text)
    .map(([[name, row], pick, dash, joined, value]) => {
      const names = [name, ...(row.alias ?? [])];
      const word = `${dash}${names[pick % names.length]}`;
      const fitting = row.choices === undefined || pick === 0 ? value : row.choices[pick % row.choices.length]!;
      if (row.type === "boolean") return joined && pick < 2 ? [`${word}=${pick === 0}`] : [word];
      return joined ? [`${word}=${fitting}`] : [word, fitting];
    });
  return fc.oneof({ weight: 4, arbitrary: option }, { weight: 1, arbitrary: plain.map((word) => [word]) });
}

/** Command lines of every command: right ones, nearly right ones, and some that are neither. */
export function lines(): fc.Arbitrary<string[]> {
  const some = (rows: OptionRows) =>
    fc
      .array(words(Object.keys(rows).length === 0 ? globalOptions() : rows), { maxLength: 4 })
      .map((list) => list.flat());
  const args = fc.array(fc.constantFrom("web", "9", "-l", "--tty", "--", "true", ""), { maxLength: 3 });
  return fc
    .constantFrom(...commandNames())
    .chain((name) =>
      fc
        .tuple(fc.oneof(fc.constant([]), some(globalOptions())), some(commandOptions(name)), args)
        .map(([global, own, rest]) => [...global, name, ...own, ...rest]),
    );
}
