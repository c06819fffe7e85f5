import { parseDuration } from "../cli/duration.ts";
import type { Command } from "../cli/options.ts";
import { print } from "../cli/output.ts";
import { statsLine, streamEvents } from "../container/events.ts";
import { loadContainer } from "../container/load.ts";
import { TsrunError } from "../errors.ts";
import { stateRoot } from "../state/root.ts";

export const eventsCommand: Command<"events"> = ({ args, options, globals, warn }) => {
  const interval = mustBeInterval(options.interval);
  const { state, status } = loadContainer(stateRoot(globals.root), args[0]!);
  if (status === "stopped") {
    throw new TsrunError(`container with id ${state.id} is not running`, { code: "ESRCH" });
  }
  if (options.stats) print(statsLine(state));
  else streamEvents({ state, interval, print, warn });
  return 0;
};

/** Nanoseconds. The wording for 0 and less is runc's. */
function mustBeInterval(text: string): number {
  const interval = parseDuration(text);
  const hint = "see 'tsrun events --help'";
  if (interval === undefined) {
    const message = `option "--interval": ${JSON.stringify(text)} is not a duration such as 5s, 500ms or 1m30s`;
    throw new TsrunError(message, { code: "EUSAGE", hint });
  }
  if (interval <= 0) throw new TsrunError("duration interval must be greater than 0", { code: "EUSAGE", hint });
  return interval;
}
