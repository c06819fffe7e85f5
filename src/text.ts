/**
 * Text to bytes and back, UTF-8. One encoder and one decoder for all: Buffer.from and Buffer.toString cost 0.2 ms when
 * they are first called, because they are compiled from source then.
 */
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Bytes that are not UTF-8 become U+FFFD. */
export function textOf(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** One or more of 0 to 9. */
export function isDigits(text: string): boolean {
  return /^[0-9]+$/.test(text);
}

/** But tab and newline. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: to find them is what it is for
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/;

/**
 * A message for a terminal: control characters but tab and newline as `\\x1b`. Messages quote what configs and file
 * systems contain, and that must not move a cursor or change what was printed before.
 */
export function visible(text: string): string {
  if (!CONTROL.test(text)) return text;
  let shown = "";
  for (const character of text) {
    const code = character.charCodeAt(0);
    const isControl = (code < 0x20 && code !== 0x09 && code !== 0x0a) || (code >= 0x7f && code < 0xa0);
    shown += isControl ? `\\x${code.toString(16).padStart(2, "0")}` : character;
  }
  return shown;
}
