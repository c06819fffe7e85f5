import { SIGRTMAX, SIGRTMIN, signalNumber } from "../abi/signal.ts";
import { TsrunError } from "../errors.ts";
import { isDigits } from "../text.ts";

/** `9`, `KILL`, `SIGKILL`, `kill`, `RTMIN+3`, `SIGRTMAX-1` → the signal's number. 0 only asks whether it could be sent. */
export function parseSignal(text: string): number {
  const number = text.length <= 2 && isDigits(text) ? Number(text) : named(text.toUpperCase());
  if (number === undefined || number > SIGRTMAX) {
    throw new TsrunError(`unknown signal ${JSON.stringify(text)}`, { code: "EINVAL" });
  }
  return number;
}

function named(text: string): number | undefined {
  const name = text.startsWith("SIG") ? text : `SIG${text}`;
  return signalNumber(name) ?? realTime(name);
}

function realTime(name: string): number | undefined {
  const found = /^SIGRT(?:MIN(?:\+(\d{1,2}))?|MAX(?:-(\d{1,2}))?)$/.exec(name);
  if (found === null) return undefined;
  const [, up = "0", down = "0"] = found;
  const number = name.startsWith("SIGRTMIN") ? SIGRTMIN + Number(up) : SIGRTMAX - Number(down);
  return number >= SIGRTMIN && number <= SIGRTMAX ? number : undefined;
}
