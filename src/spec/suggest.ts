/**
 * The candidate that `name` was probably meant to be: the nearest by edit distance, where neighbouring letters that
 * changed places count as one edit, upper and lower case are the same, and at most one edit in three letters was needed.
 */
export function suggestion(name: string, candidates: readonly string[]): string | undefined {
  let nearest: string | undefined;
  let allowed = Math.max(1, Math.floor(name.length / 3));
  for (const candidate of candidates) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase(), allowed);
    if (distance > allowed || (distance === allowed && nearest !== undefined)) continue;
    nearest = candidate;
    allowed = distance;
  }
  return nearest;
}

/** Damerau-Levenshtein with adjacent transpositions; anything above `limit` when it is sure to be above. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let older: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, older[j - 2]! + 1);
      row.push(best);
    }
    older = previous;
    previous = row;
  }
  return previous[b.length]!;
}
