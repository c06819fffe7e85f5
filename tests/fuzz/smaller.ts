import { placesIn, treeOf, write } from "./tree.ts";

/**
 * Texts with less in them, the ones with the least first: JSON without one of its values, anything else without a part of
 * its characters. Names that stand there twice, and `__proto__`, are lost in JSON that is made smaller: such a text is
 * then cut like any other.
 */
export function* smallerTexts(text: string): Generator<string> {
  const value = parsed(text);
  if (value !== undefined) yield* smallerJson(value);
  for (let size = text.length >> 1; size >= 1 && (value === undefined || size > 64); size >>= 1) {
    for (let at = 0; at < text.length; at += size) yield text.slice(0, at) + text.slice(at + size);
  }
}

function* smallerJson(value: unknown): Generator<string> {
  const count = placesIn(treeOf(value)).length;
  for (let at = 0; at < count; at++) {
    const tree = treeOf(value);
    placesIn(tree)[at]!.remove();
    yield write(tree);
  }
}

/** Documents of ordinary size only: to make megabytes smaller value by value takes too long. */
function parsed(text: string): unknown {
  if (text.length > 50_000) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
