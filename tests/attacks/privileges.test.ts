import { readFileSync, writeFileSync } from "node:fs";
import type { CapabilitySet } from "../helpers/config.ts";
import { mustSucceed, type RunOptions } from "../helpers/suite.ts";
import { type Attempt, attacks, mustBe } from "./helpers/attack.ts";

const { attack, weakened, bundle, started, run, exec, runtime, home } = attacks("privileges");

const SHOW = ["/bin/grep", "^Cap[IA]", "/proc/self/status"];
const NONE = "0".repeat(16);

/** Inheritable and ambient capabilities that there are: files may turn what is inheritable into what is permitted. */
function passedOn(status: string): string[] {
  const lines = status.trim().split("\n");
  if (lines.length !== 2) throw new Error(`should be two sets: ${status}`);
  return lines.filter((line) => !line.endsWith(`\t${NONE}`));
}

const execCap: Attempt = (options) => {
  const b = started();
  return passedOn(mustSucceed(exec(b, SHOW, { ...options, flags: ["--cap", "CAP_NET_RAW"] })).stdout);
};

attack(["CVE-2022-29162", "CVE-2022-27650"], "exec --cap gives nothing that files could pass on", () => {
  // A file with inheritable capabilities would have had CAP_NET_RAW for whoever executes it, without being root.
  mustBe([], execCap({}));
});

weakened(
  ["CVE-2022-29162", "CVE-2022-27650"],
  "leaving the inheritable set out",
  [
    {
      file: "container/exec-process.ts",
      from: "permitted: plus(own?.permitted),",
      to: "permitted: plus(own?.permitted), inheritable: plus(own?.inheritable),",
    },
  ],
  execCap,
);

/** A caller that would pass everything that it may on to what it executes. */
const generous = ({ through = [] }: RunOptions): RunOptions => ({
  through: ["setpriv", "--inh-caps", "+net_admin", "--ambient-caps", "+net_admin", "--", ...through],
});

const inherit: Attempt = (options) => {
  const b = bundle((config) => (config.process.args = SHOW));
  const first = passedOn(mustSucceed(run(b, generous(options))).stdout);
  const there = started();
  return [...first, ...passedOn(mustSucceed(exec(there, SHOW, generous(options))).stdout)];
};

attack(["CVE-2025-27612"], "what the runtime's caller passes on, containers do not get", () => {
  // A program would have had CAP_NET_ADMIN of the host, which its config.json does not name.
  mustBe([], inherit({}));
});

/** CAP_KILL, which is all that the containers of these tests have. */
const CONTAINERS_OWN = /^Cap(Prm|Eff):\t0{14}20$/;

attack(
  ["CVE-2025-27612"],
  "exec --process has the capabilities that its file names, or at most the container's",
  () => {
    // It would have had those that the runtime has when it enters the container: all.
    const b = started();
    const seen = [{ capabilities: {} }, {}].map((change) => {
      const file = `${home}/process.json`;
      const args = ["/bin/grep", "^Cap[EPIA]", "/proc/self/status"];
      writeFileSync(file, JSON.stringify({ cwd: "/", args, ...change }));
      return passedBy(mustSucceed(exec(b, [], { flags: ["--process", file] })).stdout);
    });
    mustBe([], seen[0]!);
    mustBe(
      [],
      seen[1]!.filter((line) => !CONTAINERS_OWN.test(line)),
    );
  },
);

const passedBy = (status: string): string[] =>
  status
    .trim()
    .split("\n")
    .filter((line) => !line.endsWith(`\t${NONE}`));

weakened(
  ["CVE-2025-27612"],
  "an inheritable set of its own",
  [
    {
      file: "plan/capabilities.ts",
      from: "pair(low(inheritable), high(effective)),",
      to: "pair(low(inheritable | effective), high(effective)),",
    },
  ],
  inherit,
);

const specced: Attempt = (options) => {
  const b = bundle();
  const file = `${b.dir}/config.json`;
  Bun.spawnSync(["rm", file]);
  mustSucceed(runtime(["spec", "--bundle", b.dir], options));
  const config = JSON.parse(readFileSync(file, "utf8")) as {
    process: { capabilities: Partial<Record<CapabilitySet, string[]>> };
  };
  return config.process.capabilities.inheritable ?? [];
};

attack(["CVE-2022-24769"], "spec names no inheritable capability", () => {
  // Programs with inheritable file capabilities would have raised them in every container made from it.
  mustBe([], specced({}));
});

weakened(
  ["CVE-2022-24769"],
  "leaving the set out",
  [
    {
      file: "spec/default-config.ts",
      from: "capabilities: { bounding: capabilities,",
      to: "capabilities: { inheritable: capabilities, bounding: capabilities,",
    },
  ],
  specced,
);
