/**
 * The engine's interpreter takes notes for its compilers: which values an operation has had, which objects a function was called
 * on, how often it has run. tsrun has no compilers (see OPTIONS of entry-stub.ts), and the notes of a function lie apart from all
 * else that it writes to: every fourth page that a command had to copy was for notes alone. So the instructions that write them
 * are taken out of the machine code, where JavaScriptCore's LowLevelInterpreter64.asm has the macros that are named here.
 */
import { codeSegment } from "./elf.ts";

interface Note {
  readonly macro: string;
  /** Bytes in hexadecimal, in brackets one of several; before, after and what is replaced. */
  readonly before: string;
  readonly instruction: string;
  readonly after: string;
  readonly replacement: string;
}

const NOTES: readonly Note[] = [
  {
    macro: "valueProfile",
    before: "[48 49] f7 [d8-df]", // neg REG
    instruction: "[49 4b 4d 4f] 89 [44 4c 54 5c 64 6c 74 7c] [c4 cc d4 dc e4 ec f4 fc] e8", // mov [r12+REG*8-24], REG
    after: "",
    replacement: "0f 1f 44 00 00", // nop
  },
  {
    macro: "functionInitialization",
    before: "48 85 c0", // test rax, rax: how many arguments
    instruction: "74", // je BEHIND
    after: "[20-40] 48 8b 8e 98 00 00 00 48 85 c9 74", // mov rcx, [rsi+152]; test rcx, rcx; je BEHIND
    replacement: "eb", // jmp BEHIND
  },
  {
    macro: "checkSwitchToJIT",
    before: "",
    instruction: "83 40 34 [01 05 0a]", // add dword ptr [rax+52], …
    after: "78", // js: as long as the count is below zero there is nothing to be compiled
    replacement: "83 78 34 00", // cmp dword ptr [rax+52], 0
  },
  {
    macro: "prepareCall",
    before: "4c 85 fe 75 06 8b 36", // test rsi, r15; jne BEHIND; mov esi, [rsi]
    instruction: "41 89 72 50", // mov [r10+80], esi
    after: "",
    replacement: "0f 1f 40 00", // nop
  },
];

/** The interpreter is one piece of at most so many bytes. What looks like it elsewhere is something else. */
const INTERPRETER_SIZE = 2 ** 18;

/**
 * `file`, an executable for x86-64, without the instructions.
 *
 * @throws Error when it does not have them as they are known here, as with another version of the engine.
 */
export function withoutNotes(file: Uint8Array): Uint8Array {
  const result = Buffer.from(file);
  const { offset, length } = codeSegment(file, "x86-64");
  const code = result.toString("latin1", offset, offset + length);
  const places: number[] = [];
  for (const { macro, before, instruction, after, replacement } of NOTES) {
    const pattern = new RegExp(`(${bytes(before)})${bytes(instruction)}(?=${bytes(after)})`, "gs");
    const found = [...code.matchAll(pattern)].map(({ index, 1: before }) => offset + index + before!.length);
    if (found.length === 0) throw new Error(`the engine's interpreter has no ${macro} as it is known`);
    for (const at of found) result.write(replacement.replaceAll(" ", ""), at, "hex");
    places.push(...found);
  }
  if (Math.max(...places) - Math.min(...places) > INTERPRETER_SIZE)
    throw new Error("the engine's interpreter is not in one place");
  return result;
}

/** A regular expression for bytes that are given in hexadecimal. */
function bytes(pattern: string): string {
  return pattern.replaceAll(/[0-9a-f]{2}/g, "\\x$&").replaceAll(" ", "");
}
