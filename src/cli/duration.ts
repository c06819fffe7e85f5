/** Nanoseconds in each unit of Go's durations (Go: time.ParseDuration). */
const UNITS: ReadonlyMap<string, number> = new Map([
  ["ns", 1],
  ["us", 1e3],
  ["µs", 1e3],
  ["μs", 1e3],
  ["ms", 1e6],
  ["s", 1e9],
  ["m", 60e9],
  ["h", 3600e9],
]);

/**
 * Nanoseconds of a duration in Go's syntax: `5s`, `1m30s`, `1.5h`, `-1s`, and `0` without a unit. Undefined when it is none,
 * or longer than Go can count (292 years).
 */
export function parseDuration(text: string): number | undefined {
  const negative = text.startsWith("-");
  const rest = negative || text.startsWith("+") ? text.slice(1) : text;
  if (rest === "0") return 0;
  const part = /(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/gy;
  let sum = 0;
  let end = 0;
  for (let match = part.exec(rest); match !== null; match = part.exec(rest)) {
    sum += Number(match[1]) * UNITS.get(match[2]!)!;
    end = part.lastIndex;
  }
  if (rest === "" || end !== rest.length || sum >= 2 ** 63) return undefined;
  return negative ? -sum : sum;
}
