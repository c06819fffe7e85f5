/** For tests: the bytes of machine code that is committed in hexadecimal must be those of the listing in its comment. */
import type { Arch } from "../src/abi/syscalls.ts";

const TOOLS: Record<Arch, { assembler: string; objcopy: string; comment: RegExp; prologue: string }> = {
  "x86-64": { assembler: "as", objcopy: "objcopy", comment: /#.*/, prologue: ".intel_syntax noprefix\n" },
  aarch64: {
    assembler: "aarch64-linux-gnu-as",
    objcopy: "aarch64-linux-gnu-objcopy",
    comment: /\/\/.*/,
    prologue: "",
  },
};

/** True on a machine with the GNU assembler for `arch`. */
export function canAssemble(arch: Arch): boolean {
  const { assembler, objcopy } = TOOLS[arch];
  return isRightMachine(arch) && Bun.which(assembler) !== null && Bun.which(objcopy) !== null;
}

/** `as` is the machine's own assembler. */
function isRightMachine(arch: Arch): boolean {
  return arch === "aarch64" || process.arch === "x64";
}

/** The lines of the comment above the constant `name` in `source` that are indented by five blanks. */
export function listingOf(source: string, name: string): string {
  const comment = source
    .slice(0, source.indexOf(`const ${name}`))
    .split("/**")
    .at(-1)!;
  const lines = comment.split("\n").filter((line) => line.startsWith(" *     "));
  if (lines.length === 0) throw new Error(`no listing above ${name}`);
  return lines.map((line) => line.slice(7)).join("\n");
}

/** The machine code of `listing`, in hexadecimal; `symbols` are the names that it uses for numbers. */
export function assemble(listing: string, arch: Arch, symbols: Record<string, number>, directory: string): string {
  const { assembler, objcopy, comment, prologue } = TOOLS[arch];
  const definitions = Object.entries(symbols).map(([name, value]) => `${name} = ${value}\n`);
  const lines = listing.split("\n").map((line) => line.replace(comment, ""));
  const [object, binary] = [`${directory}/listing.o`, `${directory}/listing.bin`];
  run([assembler, "-o", object, "-"], `${prologue}${definitions.join("")}${lines.join("\n")}\n`);
  run([objcopy, "-O", "binary", "-j", ".text", object, binary], "");
  return run(["od", "-An", "-v", "-tx1", binary], "").replaceAll(/\s/g, "");
}

function run(command: string[], input: string): string {
  const result = Bun.spawnSync(command, { stdin: Buffer.from(input) });
  if (result.exitCode !== 0) throw new Error(`${command[0]}: ${result.stderr.toString()}`);
  return result.stdout.toString();
}
