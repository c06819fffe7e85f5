import { readFileSync, rmSync, writeFileSync } from "node:fs";

/** A program in the place of a runtime, which it runs, and kills in the middle of a command when it was told so. */
export interface MortalRuntime {
  readonly program: string;
  /** The next `command` is killed after so many milliseconds, if it takes as long. */
  doom(command: string, milliseconds: number): void;
  spare(): void;
  /** How many were killed. */
  killed(): number;
}

/** `program` is where it is written to. The kill ends the runtime's own process only, as a person's `kill -9` does. */
export function mortalRuntime(program: string, runtime: string): MortalRuntime {
  const [next, done] = [`${program}.next`, `${program}.killed`];
  const script = `#!/bin/sh
if read -r doomed after 2>/dev/null <${next}; then
  for word; do
    [ "$word" = "$doomed" ] || continue
    rm -f ${next}
    timeout -s KILL "$after" ${runtime} "$@"
    status=$?
    [ $status != 137 ] || echo "$doomed $after" >>${done}
    exit $status
  done
fi
exec ${runtime} "$@"
`;
  writeFileSync(program, script, { mode: 0o755 });
  writeFileSync(done, "");
  return {
    program,
    doom: (command, milliseconds) => writeFileSync(next, `${command} ${(milliseconds / 1000).toFixed(4)}\n`),
    spare: () => rmSync(next, { force: true }),
    killed: () => readFileSync(done, "utf8").split("\n").length - 1,
  };
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
