import type { Arbitrary } from "fast-check";

/** Something that has to hold of whatever `values` makes. */
export interface Property<T> {
  /** `config/text`: the target, and which of its properties. `TARGET=config` means all of a target. */
  readonly name: string;
  /** What holds, as a sentence: the name of the test. */
  readonly says: string;
  readonly values: Arbitrary<T>;
  /** Throws when it does not hold. Leaves the machine as it was, also then. */
  readonly check: (value: T) => void;
  /** At most so many cases in the bounded run. */
  readonly runs: number;
  /** At most so many seconds in the bounded run; a longer run gives every property its part by these. */
  readonly seconds: number;
  /** Values with less in them, for a counterexample that a person can read; where fast-check does not find any quickly. */
  readonly smaller?: (value: T) => Iterable<T>;
  /** The value as a person reads it, in a line if possible. */
  readonly show?: (value: T) => string;
  /** When all cases have run: whether they were worth it. Throws when the values missed what they are for. */
  readonly finish?: (cases: number) => void;
  /** Why this machine cannot look at it. */
  readonly skip?: string | undefined;
}

/** Properties differ in what they are about, which is nobody's business but their own. */
export interface AnyProperty extends Omit<Property<never>, "values" | "check" | "show" | "smaller"> {
  readonly run: (runner: <T>(property: Property<T>) => void) => void;
}

export function property<T>(given: Property<T>): AnyProperty {
  const { values: _values, check: _check, show: _show, smaller: _smaller, ...rest } = given;
  return { ...rest, run: (runner) => runner(given) };
}

/** What one target has: opened when it is chosen, closed at its end, whatever happens. */
export interface Target {
  readonly properties: readonly AnyProperty[];
  readonly close?: () => void;
}

/** Throws unless `condition`; `message` says what was found and what should have been. */
export function must(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new Error(message());
}

const LONGEST = 2000;

/** A text as part of a message: quoted, and not longer than one reads. */
export function excerpt(text: string, longest = LONGEST): string {
  const quoted = JSON.stringify(text);
  return quoted.length <= longest ? quoted : `${quoted.slice(0, longest)}… (${text.length} characters)`;
}
