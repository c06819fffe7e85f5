import type { Command } from "../cli/options.ts";
import { print } from "../cli/output.ts";
import { listPlan, type Stage } from "../container/plan-listing.ts";
import { createRequest } from "../container/request.ts";
import { stepLine } from "../plan/print.ts";

/** Prints what create and start would do. */
export const planCommand: Command<"plan"> = ({ args, options, globals, warn }) => {
  const id = args[0] ?? "<id>";
  const request = createRequest(id, { ...options, pidfdSocket: undefined }, globals, warn, true);
  // Of the terminal of run, which makes a socket of its own for it, nothing is known but that there is one.
  const stages = listPlan({ ...request, console: options.consoleSocket ?? -1 });
  print(options.json ? asJson(stages) : asText(stages));
  return 0;
};

function asText(stages: readonly Stage[]): string {
  return stages
    .map(({ process, program, note, steps }) => {
      const lines = steps.map((step) => `${stepLine(step)}\n`);
      return `# ${process}: ${program}: ${note}\n${lines.join("")}`;
    })
    .join("\n");
}

function asJson(stages: readonly Stage[]): string {
  const steps = stages.flatMap(({ process, program, steps }) => steps.map((step) => ({ process, program, ...step })));
  return `${JSON.stringify(steps, undefined, 2)}\n`;
}
