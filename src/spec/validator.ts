/** What the generated validators and their caller agree on: scripts/generate-schemas.ts writes the one, load.ts is the other. */

/** Hears what a validator finds; called as its `this`. Pointers are JSON pointers (RFC 6901). */
export interface Listener {
  /** The value is not what it should be: `expected` follows "should be"; `oneOf` are the names that it could be. */
  wrong(pointer: string, expected: string, oneOf?: readonly string[]): void;
  /** The object at `pointer` lacks the property `name`. */
  missing(pointer: string, name: string, expected: string): void;
  /** The object at `pointer` has a property that the model does not know; `known` are those that it could have. */
  unknown(pointer: string, name: string, known: readonly string[]): void;
}

/** True when the value is valid and has no unknown property; false says nothing but that a Reporter must look at it. */
export type FastCheck = (value: unknown) => boolean;

/** Tells the listener of everything that is to be said about the value. */
export type Reporter = (this: Listener, value: unknown) => unknown;
