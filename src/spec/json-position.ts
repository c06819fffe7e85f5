/**
 * Where things are in a JSON text. Only for errors: JSON.parse has read, or refused, the text before. Nothing here
 * recurses, so that a text nested 100,000 deep is no danger.
 */

/** Both count from 1; the column in UTF-16 units, as editors do. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface SyntaxFault extends Position {
  /** What is there, quoted as far as it is text. */
  readonly found: string;
  /** As it follows "should be". */
  readonly expected: string;
}

/** Offsets of a value, and of the property name before it; the same where there is no name. */
interface Place {
  readonly name: number;
  readonly value: number;
}

/** The first fault of a text that is not JSON (RFC 8259); undefined when it is. */
export function syntaxFault(text: string): SyntaxFault | undefined {
  const stop = scan(text, () => {});
  if (stop === undefined) return undefined;
  return { ...positionAt(text, stop.offset), found: foundAt(text, stop.offset), expected: stop.expected };
}

/** Positions of the values at these JSON pointers, and of their names; pointers that lead nowhere are left out. */
export function locate(text: string, pointers: readonly string[]): Map<string, { value: Position; name: Position }> {
  const root = wantedTree(pointers);
  const places = new Map<string, Place>();
  scan(
    text,
    (wanted, place) => {
      for (const pointer of wanted.pointers) places.set(pointer, place);
    },
    root,
  );
  const found = new Map<string, { value: Position; name: Position }>();
  for (const [pointer, place] of places) {
    found.set(pointer, { value: positionAt(text, place.value), name: positionAt(text, place.name) });
  }
  return found;
}

/** The pointers that are asked for as a tree, walked along with the text. */
interface Wanted {
  readonly pointers: string[];
  readonly children: Map<string, Wanted>;
}

function wantedTree(pointers: readonly string[]): Wanted {
  const root: Wanted = { pointers: [], children: new Map() };
  for (const pointer of pointers) {
    let node = root;
    for (const part of pointer.split("/").slice(1)) {
      const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
      const child = node.children.get(key) ?? { pointers: [], children: new Map() };
      node.children.set(key, child);
      node = child;
    }
    node.pointers.push(pointer);
  }
  return root;
}

export function positionAt(text: string, offset: number): Position {
  let line = 1;
  let start = 0;
  for (let end = text.indexOf("\n"); end !== -1 && end < offset; end = text.indexOf("\n", start)) {
    line++;
    start = end + 1;
  }
  return { line, column: offset - start + 1 };
}

function foundAt(text: string, offset: number): string {
  if (offset >= text.length) return text.trim() === "" ? "nothing" : "the end of the file";
  if (text.charCodeAt(offset) === 0xfeff) return "a byte order mark";
  const word = /^[\w.+-]{1,20}/.exec(text.slice(offset, offset + 20))?.[0];
  return JSON.stringify(word ?? String.fromCodePoint(text.codePointAt(offset) ?? 0));
}

interface Stop {
  readonly offset: number;
  readonly expected: string;
}

/** An array or object that is still open. */
interface Frame {
  readonly array: boolean;
  /** How many values have begun in it. */
  count: number;
  readonly wanted: Wanted | undefined;
}

/** Where the scan is. */
interface Cursor {
  readonly text: string;
  offset: number;
  readonly frames: Frame[];
  /** What is asked for of the value that comes next. */
  wanted: Wanted | undefined;
  /** Offset of the property name of the value that comes next. */
  name: number | undefined;
}

/** Goes through the text once and calls `at` for each place that is wanted. Returns where and why it had to stop. */
function scan(text: string, at: (wanted: Wanted, place: Place) => void, root?: Wanted): Stop | undefined {
  const cursor: Cursor = { text, offset: 0, frames: [], wanted: root, name: undefined };
  skipSpace(cursor);
  for (;;) {
    const { wanted, name, offset } = cursor;
    if (wanted !== undefined) at(wanted, { name: name ?? offset, value: offset });
    const stop = passValue(cursor);
    if (stop !== undefined) return stop;
    const frame = passClosings(cursor);
    if (frame === undefined) return stopBeforeEnd(cursor);
    const wrong = toNextValue(cursor, frame);
    if (wrong !== undefined) return wrong;
  }
}

function stopBeforeEnd({ text, offset }: Cursor): Stop | undefined {
  return offset >= text.length ? undefined : { offset, expected: "the end of the file" };
}

/** Goes behind a string, number or literal, or behind an opening bracket. */
function passValue(cursor: Cursor): Stop | undefined {
  const opening = cursor.text[cursor.offset];
  if (opening === "{" || opening === "[") {
    cursor.frames.push({ array: opening === "[", count: 0, wanted: cursor.wanted });
    cursor.offset++;
  } else {
    const end = scalarEnd(cursor.text, cursor.offset);
    if (typeof end !== "number") return end;
    cursor.offset = end;
  }
  skipSpace(cursor);
  return undefined;
}

/** Goes behind all brackets that close here. Returns the innermost that is still open. */
function passClosings(cursor: Cursor): Frame | undefined {
  for (;;) {
    const frame = cursor.frames.at(-1);
    if (frame === undefined || cursor.text[cursor.offset] !== closingOf(frame)) return frame;
    cursor.frames.pop();
    cursor.offset++;
    skipSpace(cursor);
  }
}

function closingOf(frame: Frame): string {
  return frame.array ? "]" : "}";
}

/** Goes behind the comma, and behind the property name. */
function toNextValue(cursor: Cursor, frame: Frame): Stop | undefined {
  if (frame.count > 0) {
    if (cursor.text[cursor.offset] !== ",") return { offset: cursor.offset, expected: `"," or "${closingOf(frame)}"` };
    cursor.offset++;
    skipSpace(cursor);
  }
  const index = frame.count++;
  cursor.name = undefined;
  if (!frame.array) return passName(cursor, frame, index === 0);
  cursor.wanted = frame.wanted?.children.get(String(index));
  return undefined;
}

function passName(cursor: Cursor, frame: Frame, first: boolean): Stop | undefined {
  const { text, offset } = cursor;
  if (text[offset] !== '"') return { offset, expected: `a property name in double quotes${first ? ' or "}"' : ""}` };
  const end = stringEnd(text, offset);
  if (typeof end !== "number") return end;
  cursor.name = offset;
  cursor.wanted = frame.wanted?.children.get(JSON.parse(text.slice(offset, end)));
  cursor.offset = end;
  skipSpace(cursor);
  if (text[cursor.offset] !== ":") return { offset: cursor.offset, expected: '":"' };
  cursor.offset++;
  skipSpace(cursor);
  return undefined;
}

function skipSpace(cursor: Cursor): void {
  while (" \t\r\n".includes(cursor.text[cursor.offset] ?? "x")) cursor.offset++;
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const LITERAL = /true|false|null/y;

/** The offset behind a string, number or literal. */
function scalarEnd(text: string, offset: number): number | Stop {
  if (text[offset] === '"') return stringEnd(text, offset);
  for (const pattern of [NUMBER, LITERAL]) {
    pattern.lastIndex = offset;
    if (!pattern.test(text)) continue;
    // `012` and `nullx` begin with a value, but the word goes on.
    return /[\w.]/.test(text[pattern.lastIndex] ?? "") ? { offset, expected: "a value" } : pattern.lastIndex;
  }
  return { offset, expected: "a value" };
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

/** The offset behind the string that begins at `offset`. */
function stringEnd(text: string, offset: number): number | Stop {
  for (let at = offset + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at + 1;
    if (code < 0x20) return { offset: at, expected: "escaped, being a control character in a string" };
    if (code !== BACKSLASH) continue;
    ESCAPE.lastIndex = at;
    if (!ESCAPE.test(text)) return { offset: at, expected: 'an escape such as \\n, \\", \\\\ or \\u0041' };
    at = ESCAPE.lastIndex - 1;
  }
  return { offset: text.length, expected: "the double quote that ends the string" };
}
