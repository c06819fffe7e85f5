import { expect, test } from "bun:test";
import fc from "fast-check";
import { locate, syntaxFault } from "./json-position.ts";

function fault(text: string): string {
  const found = syntaxFault(text);
  return found === undefined ? "none" : `${found.line}:${found.column} ${found.found}, ${found.expected}`;
}

test("says where a text stops being JSON", () => {
  expect(fault("")).toBe("1:1 nothing, a value");
  expect(fault("\n\n ")).toBe("3:2 nothing, a value");
  expect(fault("{")).toBe('1:2 the end of the file, a property name in double quotes or "}"');
  expect(fault('{"a":1,}')).toBe('1:8 "}", a property name in double quotes');
  expect(fault('{"a" 1}')).toBe('1:6 "1", ":"');
  expect(fault('{\n  "a": 1\n  "b": 2\n}')).toBe(`3:3 "\\"", "," or "}"`);
  expect(fault("[1,]")).toBe('1:4 "]", a value');
  expect(fault("[1 2]")).toBe('1:4 "2", "," or "]"');
  expect(fault("nulll")).toBe('1:1 "nulll", a value');
  expect(fault("012")).toBe('1:1 "012", a value');
  expect(fault("1.")).toBe('1:1 "1.", a value');
  expect(fault("{} {}")).toBe('1:4 "{", the end of the file');
  expect(fault('["a\nb"]')).toBe('1:4 "\\n", escaped, being a control character in a string');
  expect(fault('["\\x"]')).toStartWith('1:3 "\\\\", an escape');
  expect(fault('["a')).toBe("1:4 the end of the file, the double quote that ends the string");
  expect(fault("\ufeff{}")).toBe("1:1 a byte order mark, a value");
});

test("stops exactly where JSON.parse refuses", () => {
  const pieces = fc.array(
    fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      '"a"',
      '"\\n"',
      "1",
      "-0.5e+3",
      "01",
      "true",
      "nul",
      " ",
      "\n",
      '"',
      "\\",
    ),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(pieces, (list) => {
      const text = list.join("");
      expect(syntaxFault(text) === undefined).toBe(parses(text));
    }),
    { numRuns: 3000 },
  );
});

test("accepts whatever JSON.stringify writes, also cut short and refused", () => {
  fc.assert(
    fc.property(fc.json(), fc.nat(), (text, cut) => {
      expect(syntaxFault(text)).toBeUndefined();
      const part = text.slice(0, cut % (text.length + 1));
      expect(syntaxFault(part) === undefined).toBe(parses(part));
    }),
  );
});

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

test("finds values and names by pointer", () => {
  const text = '{\n  "a": [10,\n    {"b/c": "x"}],\n  "a~": null\n}';
  const places = locate(text, ["", "/a", "/a/1/b~1c", "/a~0", "/none", "/a/7"]);
  expect(places.get("")?.value).toEqual({ line: 1, column: 1 });
  expect(places.get("/a")).toEqual({ value: { line: 2, column: 8 }, name: { line: 2, column: 3 } });
  expect(places.get("/a/1/b~1c")).toEqual({ value: { line: 3, column: 13 }, name: { line: 3, column: 6 } });
  expect(places.get("/a~0")?.value).toEqual({ line: 4, column: 9 });
  expect(places.size).toBe(4);
});

test("of a name that is there twice, the last counts, as for JSON.parse", () => {
  expect(locate('{"a": 1, "a": 2}', ["/a"]).get("/a")?.value.column).toBe(15);
});

test("depth and length are no danger", () => {
  expect(syntaxFault("[".repeat(200_000) + "]".repeat(200_000))).toBeUndefined();
  expect(fault("[".repeat(200_000))).toStartWith("1:200001 ");
  expect(syntaxFault(`"${"x".repeat(2_000_000)}"`)).toBeUndefined();
});
