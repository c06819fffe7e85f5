import { closeListener } from "../helpers/seccomp-agent.ts";
import { unixSocket } from "../helpers/sockets.ts";
import { type Change, RUNTIME_NAME } from "../helpers/suite.ts";
import { attacks, mustBe } from "./helpers/attack.ts";

const { attack, bundle, runtimeBeside, home, after } = attacks("hostile-notify");

/** Longer than tsrun waits, and long for the others. */
const LIMIT = RUNTIME_NAME === "tsrun" ? 40_000 : 5_000;

let number = 0;

/** An agent of seccomp that takes what it is given and never says a word, and a profile that asks it about execve. */
function silentAgent(): { change: Change; accept: () => void } {
  const listenerPath = `${home}/${++number}.sock`;
  const socket = unixSocket(listenerPath, "stream");
  after(() => socket.close());
  const syscalls = [{ names: ["execve"], action: "SCMP_ACT_NOTIFY" }];
  return {
    change: (config) => (config.linux.seccomp = { defaultAction: "SCMP_ACT_ALLOW", listenerPath, syscalls }),
    accept: () => {
      for (const fd of socket.accept().fds) after(() => closeListener(fd));
    },
  };
}

attack(
  ["NOTIFY"],
  "run: an agent of seccomp that never answers does not keep the runtime waiting for ever",
  async () => {
    // The engine would have waited for its runtime, and whoever waits for the engine, too.
    const { change, accept } = silentAgent();
    const b = bundle(change);
    const running = runtimeBeside(["run", "--bundle", b.dir, b.id]);
    accept();
    const { status, stderr } = await running.finish(LIMIT);
    mustBe(["status 1"], [`status ${status}`]);
    if (!/seccomp/.test(stderr)) throw new Error(`should say that it is the agent: ${stderr}`);
  },
  { limit: 60_000 },
);
