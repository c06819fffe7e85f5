import { afterAll, beforeAll, test as bunTest, expect } from "bun:test";
import { slow } from "../../tests/helpers/time.ts";
import { checkRuntimes, RUNTIMES, type Runtime, VIEW } from "./runtimes.ts";

/** An engine that was started for one of the runtimes. */
export interface Contestant<Lane> {
  /** What one test works with; `prefix` keeps its names apart from those of other tests. */
  lane(prefix: string, note: Note): Lane;
  /** Removes what the test made and did not remove itself, because it failed, or because it left it to this. */
  tidy(prefix: string): Promise<void>;
  /** What is there apart from what was there when the engine had been started. */
  leftovers(): Promise<string[]>;
  /** Stops it, and says what is left. */
  stop(): Promise<string[]>;
}

/** Notes what is seen; it must be the same with every runtime. */
export type Note = (name: string, seen: unknown) => void;

interface Outcome {
  readonly failure: unknown;
  readonly seen: ReadonlyMap<string, unknown>;
}

/**
 * Tests that run with an engine for each runtime, side by side. What is seen with runc is the expectation. `start`
 * starts an engine for the tests of one file; `differences`: test → why tsrun may differ in it; a line that is no
 * longer true fails.
 */
export function compared<Lane>(
  label: string,
  start: (runtime: Runtime) => Promise<Contestant<Lane>>,
  differences: ReadonlyMap<string, string> = new Map(),
) {
  const contestants = new Map<string, Contestant<Lane>>();
  const titles = new Set<string>();

  beforeAll(async () => {
    checkRuntimes();
    const starts = RUNTIMES.map(async (runtime) => contestants.set(runtime.name, await start(runtime)));
    const failed = (await Promise.allSettled(starts)).find((each) => each.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }, slow(60_000));

  afterAll(async () => {
    const left = await Promise.all([...contestants.values()].map((each) => each.stop()));
    expect(left.flat()).toEqual([]);
    expect([...differences.keys()].filter((title) => !titles.has(title))).toEqual([]);
  }, slow(60_000));

  function test(title: string, action: (lane: Lane) => Promise<void>): void {
    titles.add(title);
    const prefix = `test${titles.size}`;
    let outcomes: Promise<Map<string, Outcome>> | undefined;
    const reason = differences.get(title);

    /** What fails has another try, with all of them: the engines are under test with tsrun, and have their moments. */
    async function runTwice(): Promise<Map<string, Outcome>> {
      const first = await runAll(contestants, prefix, action);
      const runc = first.get("runc")!;
      const failure = runc.failure ?? (reason === undefined ? judge(first.get("tsrun")!, runc) : undefined);
      if (failure === undefined) return first;
      console.log(`again: ${label}${VIEW}: ${title}: ${failure}`);
      return runAll(contestants, `${prefix}again`, action);
    }

    bunTest(`${label}${VIEW}: runc: ${title}`, async () => {
      outcomes = runTwice();
      const outcome = (await outcomes).get("runc")!;
      if (outcome.failure !== undefined) throw outcome.failure;
    });
    bunTest(`${label}${VIEW}: tsrun: ${title}`, async () => {
      outcomes ??= runTwice(); // Where only this one was chosen by its name.
      const failure = judge((await outcomes).get("tsrun")!, (await outcomes).get("runc")!);
      if (reason === undefined && failure !== undefined) throw failure;
      if (reason !== undefined && failure === undefined) throw new Error(`no longer differs: "${reason}"`);
    });
  }

  function skip(title: string, reason: string): void {
    const name = `${label}${VIEW}: ${title}`;
    console.log(`skipped: ${name}: ${reason}`);
    bunTest.skip(name, () => {});
  }

  return { test, skip };
}

async function runAll<Lane>(
  contestants: ReadonlyMap<string, Contestant<Lane>>,
  prefix: string,
  action: (lane: Lane) => Promise<void>,
): Promise<Map<string, Outcome>> {
  const ran = [...contestants].map(async ([name, contestant]): Promise<[string, Outcome]> => {
    const seen = new Map<string, unknown>();
    let failure: unknown;
    try {
      await action(contestant.lane(prefix, (what, value) => void seen.set(what, value)));
    } catch (error) {
      failure = error ?? new Error("thrown undefined");
    }
    await contestant.tidy(prefix);
    return [name, { failure, seen }];
  });
  const outcomes = new Map(await Promise.all(ran));
  // Only now: what the other one does meanwhile is not left behind.
  for (const [name, contestant] of contestants) {
    const left = await contestant.leftovers();
    const { failure, seen } = outcomes.get(name)!;
    if (left.length > 0) outcomes.set(name, { seen, failure: failure ?? new Error(`left behind: ${left.join("; ")}`) });
  }
  return outcomes;
}

/** Why the runtime differs from runc, or undefined. */
function judge(outcome: Outcome, expected: Outcome): unknown {
  if (outcome.failure !== undefined) return outcome.failure;
  try {
    expect(Object.fromEntries(outcome.seen)).toEqual(Object.fromEntries(expected.seen));
    return undefined;
  } catch (error) {
    return error;
  }
}
