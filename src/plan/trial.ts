import { SIGKILL } from "../abi/signal.ts";
import type { PlanContext } from "./context.ts";
import type { OverlayRoot } from "./overlay-root.ts";
import { add } from "./step.ts";

/** What `tsrun try` wants of a container that no config.json can say. */
export interface Trial {
  readonly root: OverlayRoot;
}

/** The container ends with the tsrun that waits for it. Late: a change of user takes it back (prctl(2)). */
export function planDeath({ identity }: PlanContext): void {
  const PR_SET_PDEATHSIG = 1;
  add(identity, { call: "prctl", args: [PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0], what: "end when tsrun ends" });
}
