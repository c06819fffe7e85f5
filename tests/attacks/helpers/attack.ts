import { RUNTIME_NAME, type RunOptions, suite } from "../../helpers/suite.ts";
import { differences, machine } from "./canary.ts";
import { type Weakness, weakTsrun } from "./weakened.ts";

type Suite = ReturnType<typeof suite>;
type TestOptions = NonNullable<Parameters<Suite["test"]>[2]>;

/** How often a race is run: ATTACKS; 500 in `make test`, and fewer where nobody says. */
export const ROUNDS = Number(process.env.ATTACKS || 50);
if (!(ROUNDS >= 1)) throw new Error(`ATTACKS is a number from 1 on, not "${process.env.ATTACKS}"`);

/** Runs an attack once; what it has done, in words: nothing when the runtime is immune. */
export type Attempt = (options: RunOptions) => readonly string[];

/**
 * Tests of attacks: a suite whose tests each name the rows of README.md that they are for. A title says what did not
 * happen; the first comment in the test, what would have.
 */
export function attacks(topic: string) {
  const tests = suite(topic);

  /** A test of these rows. What the machine has of its own must be as it was, whatever the test looks at besides. */
  function attack(rows: readonly string[], title: string, action: () => void | Promise<void>, options?: TestOptions) {
    const guarded = async (): Promise<void> => {
      const before = machine();
      await action();
      mustBe([], differences(before, machine()));
    };
    tests.test(`${rows.join(", ")}: ${title}`, guarded, options);
  }

  /** Shows that the same attempt succeeds where the protection is taken out, and so that its test can fail. */
  function weakened(
    rows: readonly string[],
    without: string,
    weaknesses: readonly Weakness[],
    attempt: Attempt,
    skip?: string,
  ) {
    if (RUNTIME_NAME !== "tsrun") return;
    const title = `${rows.join(", ")}: succeeds without ${without}`;
    tests.test(
      title,
      () => {
        const through = weakTsrun(tests.home, weaknesses);
        if (attempt({ through, limit: 30_000 }).length === 0) throw new Error("does nothing: its test cannot fail");
      },
      { limit: 300_000, skip },
    );
  }

  return { ...tests, attack, weakened };
}

/** Throws with every line of `found` unless it is what was expected. */
export function mustBe(expected: readonly string[], found: readonly string[]): void {
  if (expected.join("\n") !== found.join("\n"))
    throw new Error(`should be ${expected.join("; ") || "nothing"}: ${found.join("\n")}`);
}
