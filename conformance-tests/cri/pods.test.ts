/** Pods: the handler, namespaces that their containers share, networks, ports, and their end. */
import { expect } from "bun:test";
import { command } from "../../tests/helpers/command.ts";
import { sh, sleep } from "../lib/commands.ts";
import { until } from "../lib/wait.ts";
import { cri } from "./lanes.ts";

const { test, skip } = cri();

const NAMESPACES = sh("for n in mnt pid net ipc uts; do readlink /proc/self/ns/$n; done");
const named = (text: string): Record<string, string> =>
  Object.fromEntries(
    text
      .trim()
      .split("\n")
      .map((line) => [line.split(":")[0], line]),
  );
const own = (name: string): string => command(["readlink", `/proc/self/ns/${name}`]).stdout.trim();

test("the handler that a RuntimeClass names, and one that nobody configured", async ({ call, pod, fails }) => {
  const { id, config } = await pod();
  const { items } = await call<{ items: { id: string; state: string; runtime_handler: string }[] }>(
    "RuntimeService/ListPodSandbox",
    {},
  );
  expect(items.map((item) => [item.id, item.state, item.runtime_handler])).toEqual([[id, "SANDBOX_READY", "tsrun"]]);
  const metadata = { ...(config.metadata as object), name: "other", uid: "other" };
  const request = { config: { ...config, metadata }, runtime_handler: "nobody" };
  expect(await fails(call("RuntimeService/RunPodSandbox", request))).toContain('no runtime for "nobody" is configured');
});

test("containers of a pod share its network, IPC and UTS namespaces, and have their own of the others", async ({
  pod,
  started,
  exec,
}) => {
  const at = await pod({ network: "POD", config: { hostname: "a-name" } });
  const ids = [await started(at, sleep), await started(at, sleep)] as const;
  const [first, second] = [
    named((await exec(ids[0], NAMESPACES)).stdout),
    named((await exec(ids[1], NAMESPACES)).stdout),
  ];
  for (const shared of ["net", "ipc", "uts"]) {
    expect(first[shared]).toBe(second[shared]!);
    expect(first[shared]).not.toBe(own(shared));
  }
  for (const apart of ["mnt", "pid"]) expect(first[apart]).not.toBe(second[apart]!);
  expect((await exec(ids[1], ["hostname"])).stdout).toBe("a-name\n");
});

test("a pod whose containers share the PID namespace", async ({ pod, started, output }) => {
  const at = await pod({ security: { namespace_options: { network: "NODE", pid: "POD", ipc: "POD" } } });
  await started(at, ["sleep", "1234"]);
  expect(await output(at, sh("ps | grep -c '[s]leep 1234'; test $$ != 1 && echo not the first"))).toBe(
    "1\nnot the first\n",
  );
});

test("a container in the PID namespace of another one", async ({ pod, started, output }) => {
  const at = await pod();
  const target = await started(at, ["sleep", "1234"]);
  const joined = { namespace_options: { network: "NODE", pid: "TARGET", ipc: "POD", target_id: target } };
  expect(
    await output(at, sh("ps -o pid,args | grep '[s]leep 1234' | sed 's/^ *//; s/  */ /g'"), { security: joined }),
  ).toBe("1 sleep 1234\n");
});

test("the namespaces of the node", async ({ pod, output, engine }) => {
  const at = await pod({ security: { namespace_options: { network: "NODE", pid: "NODE", ipc: "NODE" } } });
  const seen = named(await output(at, NAMESPACES));
  const network = command(engine.inNetwork(["readlink", "/proc/self/ns/net"])).stdout.trim();
  expect([seen.pid, seen.ipc, seen.net]).toEqual([own("pid"), own("ipc"), network]);
});

test("a network of its own: address, routes, and another pod that answers", async ({ pod, call, output, started }) => {
  const at = await pod({ network: "POD" });
  const { status } = await call<{ status: { network: { ip: string } } }>("RuntimeService/PodSandboxStatus", {
    pod_sandbox_id: at.id,
  });
  await started(at, sleep);
  const other = await pod({ network: "POD" });
  expect(await output(other, sh("ls /sys/class/net | sort"))).toBe("eth0\nlo\n");
  expect(await output(other, sh(`ping -c 1 -w 5 ${status.network.ip} >/dev/null && echo answers`))).toBe("answers\n");
});

test("a port of the node", async ({ pod, started, engine }) => {
  const ports = [{ protocol: "TCP", container_port: 8080, host_port: 8123 }];
  const at = await pod({ network: "POD", config: { port_mappings: ports } });
  const { stdout } = command(engine.inNetwork(["ip", "-o", "-4", "addr", "show", "pods0"]));
  const node = /inet ([0-9.]+)/.exec(stdout)![1];
  await started(
    at,
    sh("while :; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nfrom inside\\n' | nc -l -p 8080 >/dev/null; done"),
  );
  const fetch = engine.inNetwork(["busybox", "wget", "-q", "-O", "-", `http://${node}:8123/`]);
  await until(() => command(fetch).stdout === "from inside\n");
});

test("names and addresses of servers for names", async ({ pod, output }) => {
  const dns = { servers: ["192.0.2.53"], searches: ["tests.example"], options: ["ndots:2"] };
  const at = await pod({ network: "POD", config: { dns_config: dns, hostname: "named" } });
  expect(await output(at, sh("cat /etc/resolv.conf; cat /etc/hostname"))).toBe(
    "search tests.example\nnameserver 192.0.2.53\noptions ndots:2\nnamed\n",
  );
});

test("kernel parameters of the pod", async ({ pod, output }) => {
  const sysctls = { "net.ipv4.ip_local_port_range": "2000 3000", "kernel.shm_rmid_forced": "1" };
  const at = await pod({ network: "POD", linux: { sysctls } });
  expect(await output(at, sh("cd /proc/sys; cat net/ipv4/ip_local_port_range kernel/shm_rmid_forced"))).toBe(
    "2000\t3000\n1\n",
  );
});

test("/dev/shm belongs to the pod", async ({ pod, output }) => {
  const at = await pod();
  await output(at, sh("echo shared >/dev/shm/file"));
  expect(await output(at, ["cat", "/dev/shm/file"])).toBe("shared\n");
  expect(await output(await pod(), sh("ls /dev/shm"))).toBe("");
});

test("a pod that is stopped stops its containers, and is gone when it is removed", async ({
  pod,
  started,
  ended,
  call,
}) => {
  const at = await pod({ network: "POD" });
  const ids = [await started(at, sleep), await started(at, sh("trap : TERM; while :; do sleep 1; done"))];
  await call("RuntimeService/StopPodSandbox", { pod_sandbox_id: at.id });
  for (const id of ids) expect((await ended(id)).exit_code).toBe(137);
  const { status } = await call<{ status: { state: string } }>("RuntimeService/PodSandboxStatus", {
    pod_sandbox_id: at.id,
  });
  expect(status.state).toBe("SANDBOX_NOTREADY");
  await call("RuntimeService/RemovePodSandbox", { pod_sandbox_id: at.id });
  const { containers } = await call<{ containers: unknown[] }>("RuntimeService/ListContainers", {});
  expect(containers).toEqual([]);
});

test("eight pods at a time", async ({ pod, output }) => {
  const ask = async (_: unknown, at: number) => output(await pod({ network: "POD" }), ["echo", String(at)]);
  expect(await Promise.all(Array.from({ length: 8 }, ask))).toEqual(Array.from({ length: 8 }, (_, at) => `${at}\n`));
});

skip("user namespaces of pods", "containerd 1.6 of Debian 12 does not know them");
