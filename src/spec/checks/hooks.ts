import type { HookKind } from "../types.ts";
import { addFault, type ConfigCheck, checkEnvironment } from "./report.ts";

const KINDS: readonly HookKind[] = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
];

/** config.md "POSIX-platform Hooks": the path is absolute. */
export const hooksCanRun: ConfigCheck = ({ hooks }, report) => {
  if (hooks === undefined) return;
  for (const kind of KINDS) {
    for (const [at, hook] of (hooks[kind] ?? []).entries()) {
      const pointer = `/hooks/${kind}/${at}`;
      if (!hook.path.startsWith("/")) {
        addFault(report, `${pointer}/path`, `found ${JSON.stringify(hook.path)}`, "an absolute path");
      }
      checkEnvironment(hook.env, `${pointer}/env`, report);
    }
  }
};
