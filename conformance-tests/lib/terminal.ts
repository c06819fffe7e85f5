import { slow } from "../../tests/helpers/time.ts";

/** What is typed, or how many columns and lines the terminal has from now on, when the text has been seen. */
export type Reaction = readonly [seen: RegExp, typed: string | readonly [columns: number, lines: number]];

/** Runs a command in a terminal of 91 columns and 31 lines; each reaction waits for the one before it. */
export async function inTerminal(
  argv: readonly string[],
  reactions: readonly Reaction[],
  env?: Record<string, string>,
): Promise<{ code: number; text: string }> {
  const waiting = [...reactions];
  let text = "";
  let resizing: Timer | undefined;
  /** Again and again: a client that does not listen yet is told of a change only once (SIGWINCH). */
  const resize = (terminal: Bun.Terminal, columns: number, lines: number) => {
    terminal.resize(columns, lines);
    clearInterval(resizing);
    resizing = setInterval(() => {
      terminal.resize(columns, lines - 1);
      terminal.resize(columns, lines);
    }, 500);
  };
  const child = Bun.spawn([...argv], {
    ...(env === undefined ? {} : { env }),
    terminal: {
      cols: 91,
      rows: 31,
      data(terminal, bytes) {
        text += Buffer.from(bytes).toString().replaceAll("\r", ""); // One of each terminal that it came through.
        if (!waiting[0]?.[0].test(text)) return;
        const [, typed] = waiting.shift()!;
        if (typeof typed === "string") terminal.write(typed);
        else resize(terminal, ...typed);
      },
    },
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), slow(30_000));
  const code = await child.exited;
  clearTimeout(timer);
  clearInterval(resizing);
  child.terminal?.close();
  return { code, text };
}
