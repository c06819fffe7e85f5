import type { Results } from "./bench.ts";
import { markdown, ratio } from "./markdown.ts";
import { seccompTable } from "./seccomp.ts";
import { EMPTY } from "./times.ts";

/** The results as Markdown: medians, with how they stand to runc's and crun's. */
export function table(results: Results): string {
  const parts = [
    ...results.times.map(({ view, times }) => timesTable(view, times)),
    namespacesLine(results),
    memoryTable(results),
    seccompTable(results.seccomp),
    `${results.machine}. ${results.runtimes.map(({ name, version }) => `${name} ${version}`).join(", ")}. ${results.date}${results.quick ? ", quick and therefore rough" : ""}.`,
  ];
  return `${parts.join("\n\n")}\n`;
}

function timesTable(view: string, times: Results["times"][number]["times"]): string {
  const operations = [...new Set(times.map(({ operation }) => operation))];
  const runtimes = [...new Set(times.map(({ runtime }) => runtime))];
  const at = (operation: string, runtime: string) =>
    times.find((entry) => entry.operation === operation && entry.runtime === runtime);
  const others = runtimes.slice(1);
  const rows = operations.map((operation) => [
    operation,
    ...runtimes.map((runtime) => figures(at(operation, runtime))),
    ...others.map((other) => ratio(at(operation, runtimes[0]!)?.median, at(operation, other)?.median)),
  ]);
  const runs = Math.min(...times.map((entry) => entry.runs));
  return `Milliseconds with ${view}: median (least) of ${runs} runs each.\n\n${markdown(
    ["", ...runtimes, ...others.map((other) => `÷ ${other}`)],
    rows,
  )}`;
}

function figures(times: { readonly median: number; readonly min: number } | undefined): string {
  return times === undefined ? "–" : `${times.median.toFixed(1)} (${times.min.toFixed(1)})`;
}

function namespacesLine({ namespaces }: Results): string {
  return `Making and removing the same namespaces without a runtime (\`unshare\`, cgroup v2): ${figures(namespaces)} ms.`;
}

function memoryTable({ created, limits, runtimes }: Results): string {
  const names = runtimes.map(({ name }) => name);
  const row = (title: string, values: Map<string, number>) => [
    title,
    ...names.map((name) => values.get(name)?.toLocaleString("en") ?? "–"),
    ...names.slice(1).map((name) => ratio(values.get(names[0]!), values.get(name))),
  ];
  const rows = [
    row("PSS of a created container", new Map(created.map((entry) => [entry.runtime, entry.pss]))),
    row("… of it private", new Map(created.map((entry) => [entry.runtime, entry.private]))),
  ];
  if (limits.length > 0)
    rows.push(row("smallest limit in which `run` works", new Map(limits.map((entry) => [entry.runtime, entry.limit]))));
  return `Memory, kB.\n\n${markdown(["", ...names, ...names.slice(1).map((other) => `÷ ${other}`)], rows)}`;
}

interface Target {
  readonly what: string;
  readonly measured: number;
  readonly limit: number;
  /** What would be measured of a tsrun that did nothing at all. */
  readonly floor?: number;
}

const PROMISED = ["run", "exec", "create with all limits", "update", "pause+resume", "ps"];

/** What tsrun promises, and what was measured. */
export function targets({ times, created, seccomp }: Results): Target[] {
  const found: Target[] = [];
  const all = times.flatMap((view) => view.times.map((entry) => ({ ...entry, view: view.view })));
  for (const operation of PROMISED) {
    // The first view that has it: run and exec are measured in two.
    const view = all.find((entry) => entry.operation === operation)?.view;
    const median = (runtime: string, name = operation) =>
      all.find((entry) => entry.view === view && entry.operation === name && entry.runtime === runtime)!.median;
    if (view === undefined) continue;
    const starts = operation === "pause+resume" ? 2 : 1;
    for (const [other, limit] of [
      ["runc", 0.6],
      ["crun", 1.25],
    ] as const) {
      const [measured, floor] = [
        median("tsrun") / median(other),
        (starts * median("tsrun", EMPTY.name)) / median(other),
      ];
      found.push({ what: `${operation} ÷ ${other}`, measured, limit, floor });
    }
  }
  const pss = created.find(({ runtime }) => runtime === "tsrun")!.pss;
  for (const { profile, compile, ours, theirs } of seccomp) {
    found.push({ what: `compile ${profile}'s profile, ms`, measured: compile.median, limit: 3 });
    const [size, path] = [ours.instructions / theirs.instructions, ours.path / theirs.path];
    found.push({ what: `${profile}: instructions ÷ libseccomp`, measured: size, limit: 1 });
    found.push({ what: `${profile}: instructions for a call ÷ libseccomp`, measured: path, limit: 1 });
  }
  return [...found, { what: "PSS of a created container, kB", measured: pss, limit: 64 }];
}

export function targetLines(results: Results): string {
  return targets(results)
    .map(({ what, measured, limit, floor }) => {
      const verdict = measured <= limit ? "met" : "MISSED";
      const least = floor === undefined ? "" : `; an empty program: ${floor.toFixed(2)}`;
      return `${verdict.padEnd(7)} ${what}: ${Number(measured.toFixed(3))}, at most ${limit}${least}\n`;
    })
    .join("");
}
