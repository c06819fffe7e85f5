/** An entry of a tar archive. Times are the epoch and the owner is root, so that the same entries give the same bytes. */
export type Entry =
  | { readonly kind: "directory"; readonly path: string; readonly mode: number }
  | { readonly kind: "file"; readonly path: string; readonly mode: number; readonly data: Uint8Array }
  /** A hard link; `mode` must be that of the target, because some extractors apply it again. */
  | { readonly kind: "link"; readonly path: string; readonly mode: number; readonly target: string };

const BLOCK = 512;

/** A POSIX ustar archive (pax(1), "ustar Interchange Format"). Paths have at most 100 bytes. */
export function tar(entries: readonly Entry[]): Uint8Array {
  const parts = entries.flatMap((entry) => [header(entry), ...contents(entry)]);
  return new Uint8Array(Buffer.concat([...parts, new Uint8Array(2 * BLOCK)]));
}

const TYPEFLAG = { file: "0", link: "1", directory: "5" };

function header(entry: Entry): Uint8Array {
  const block = Buffer.alloc(BLOCK);
  const put = (offset: number, text: string) => block.write(text, offset, "latin1");
  if (Buffer.byteLength(entry.path) > 100) throw new Error(`path too long for ustar: ${entry.path}`);
  put(0, entry.path);
  put(100, octal(entry.mode, 8));
  put(108, octal(0, 8));
  put(116, octal(0, 8));
  put(124, octal(entry.kind === "file" ? entry.data.length : 0, 12));
  put(136, octal(0, 12));
  put(148, " ".repeat(8));
  put(156, TYPEFLAG[entry.kind]);
  if (entry.kind === "link") put(157, entry.target);
  put(257, "ustar\x0000");
  const sum = block.reduce((total, byte) => total + byte, 0);
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
  return block;
}

function contents(entry: Entry): Uint8Array[] {
  if (entry.kind !== "file") return [];
  return [entry.data, new Uint8Array((BLOCK - (entry.data.length % BLOCK)) % BLOCK)];
}

/** A number as ustar has it: octal digits and a NUL, `width` bytes in all. */
function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, "0")}\0`;
}
