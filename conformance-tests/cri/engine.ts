import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { command, commandBeside, PLAIN_ENV, type Running } from "../../tests/helpers/command.ts";
import { mountsUnder } from "../../tests/helpers/leaks.ts";
import { success } from "../lib/commands.ts";
import { answers, shimSockets, startContainerd } from "../lib/containerd.ts";
import { busyboxImage } from "../lib/image.ts";
import { leftBehind, removeParentCgroups } from "../lib/leftovers.ts";
import type { Runtime } from "../lib/runtimes.ts";
import { settled } from "../lib/wait.ts";
import { type Message, methods } from "./client.ts";
import { cniConfiguration, configuration, HANDLER } from "./configuration.ts";

/** In the registry; every name is looked up there. */
export const IMAGE = "registry.example/busybox:latest";
const PAUSE = "registry.example/pause:1";
const REGISTRY = "127.0.0.1:5000";

export type Engine = Awaited<ReturnType<typeof startEngine>>;

/**
 * containerd with its CRI plugin, the runtime as the handler of a RuntimeClass, beside a registry of images, in directories and a
 * network namespace of their own. The name of their directory, `mark`, is in all that they make.
 */
export async function startEngine(runtime: Runtime) {
  const home = mkdtempSync(`/tmp/t${process.pid}-${runtime.name}-cri-`);
  const mark = basename(home);
  chmodSync(home, 0o711);
  const socketsBefore = shimSockets();
  const env = { ...PLAIN_ENV, HOME: home };
  for (const folder of ["cni", "certs/_default", "registry", "logs", "seccomp"]) {
    mkdirSync(`${home}/${folder}`, { recursive: true });
  }
  writeFileSync(`${home}/cni/10-bridge.conflist`, cniConfiguration(home));
  writeFileSync(
    `${home}/certs/_default/hosts.toml`,
    `server = "http://${REGISTRY}"\n[host."http://${REGISTRY}"]\n  capabilities = ["pull", "resolve"]\n`,
  );
  // The network namespace lasts as long as a process in it, and its interfaces and rules go with it.
  const wrapper = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"];
  const containerd = await startContainerd(home, { env, wrapper, configuration: configuration(home, runtime, PAUSE) });
  const call = methods(containerd.socket);
  /** A command line that sees the interfaces which the daemons see. */
  const inNetwork = (argv: readonly string[]) => ["nsenter", `--net=/proc/${containerd.pid}/ns/net`, ...argv];
  const registry = await startRegistry(home, env, inNetwork);

  function push(reference: string, image: Uint8Array): void {
    writeFileSync(`${home}/image.tar`, image);
    const name = reference.replace("registry.example", REGISTRY);
    const flags = ["--insecure-policy", "--tmpdir", home];
    const copy = ["copy", "--quiet", "--dest-tls-verify=false", `oci-archive:${home}/image.tar`, `docker://${name}`];
    success(command(inNetwork(["skopeo", ...flags, ...copy]), { env, limit: 30_000 }));
  }

  const daemons = (): number[] => [containerd.pid, registry.pid];
  const leftovers = (): Promise<string[]> => settled(() => leftBehind(mark, daemons(), socketsBefore));

  async function stop(): Promise<string[]> {
    const left = await containerd.stop();
    registry.kill("SIGTERM");
    await registry.finish();
    left.push(...(await settled(() => leftBehind(mark, [], socketsBefore))));
    removeParentCgroups(mark);
    if (mountsUnder(mark).length === 0) rmSync(home, { recursive: true, force: true });
    return left;
  }

  try {
    push(PAUSE, busyboxImage("/bin/busybox", PAUSE, ["sleep", "1000000"]));
    push(IMAGE, busyboxImage("/bin/busybox", IMAGE));
    await answersCri(call);
    await call("ImageService/PullImage", { image: { image: IMAGE } });
  } catch (error) {
    throw new Error(`${error}\n${await stop()}`);
  }
  return { runtime, home, mark, pid: containerd.pid, call, inNetwork, leftovers, stop, handler: HANDLER };
}

async function answersCri(call: ReturnType<typeof methods>): Promise<void> {
  let reasons = "";
  for (let round = 0; round < 100; round++, await Bun.sleep(100)) {
    const { status } = await call<{ status: { conditions: Message[] } }>("RuntimeService/Status", {});
    const missing = status.conditions.filter((condition) => condition.status !== true);
    if (missing.length === 0) return;
    reasons = JSON.stringify(missing);
  }
  throw new Error(`the CRI is not ready: ${reasons}`);
}

async function startRegistry(
  home: string,
  env: Record<string, string>,
  inNetwork: (argv: readonly string[]) => string[],
): Promise<Running> {
  const file = `${home}/registry/config.yml`;
  writeFileSync(
    file,
    `version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: ${home}/registry/data}}
http: {addr: ${REGISTRY}}
`,
  );
  const daemon = commandBeside(inNetwork(["docker-registry", "serve", file]), { env });
  const ask = inNetwork(["busybox", "wget", "-q", "-O", "-", `http://${REGISTRY}/v2/`]);
  await answers(daemon, "docker-registry", () => command(ask).status === 0);
  return daemon;
}
