/** Networks of containers, all inside the network namespace that the engine was started in. */
import { expect } from "bun:test";
import { command } from "../../tests/helpers/command.ts";
import { sh, sleep, success } from "../lib/commands.ts";
import { until } from "../lib/wait.ts";
import { docker } from "./lanes.ts";

const { test } = docker();

const interfaces = ["sh", "-c", "ls /sys/class/net | sort"];
const NETWORK = sh("readlink /proc/self/ns/net");
const serves = (text: string, port: number) =>
  sh(`while :; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\n${text}\\n' | nc -l -p ${port} >/dev/null; done`);

test("none: the loopback interface alone", async ({ output }) => {
  expect(await output(interfaces)).toBe("lo\n");
  expect(await output(sh("ping -c 1 -w 5 127.0.0.1 >/dev/null && echo answers"))).toBe("answers\n");
});

test("host: the network of the engine", async ({ output, engine }) => {
  const host = success(await engine.here(["readlink", "/proc/self/ns/net"])).stdout;
  expect(await output(NETWORK, ["--network", "host"])).toBe(host);
  expect((await output(NETWORK)) === host).toBe(false);
});

test("bridge: an address of its own, and the engine's answers", async ({ output, note }) => {
  const network = ["--network", "bridge"];
  expect(await output(interfaces, network)).toBe("eth0\nlo\n");
  const address = await output(sh("ip -o -4 addr show eth0 | tr -s ' ' | cut -d' ' -f4"), network);
  note("address", address);
  const pinged = sh(
    "ping -c 1 -w 5 $(ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p') >/dev/null && echo answers",
  );
  expect(await output(pinged, network)).toBe("answers\n");
});

test("a container beside it on the bridge", async ({ output, started, inspect }) => {
  const id = await started(sleep, ["--network", "bridge"]);
  const address = await inspect(id, "{{.NetworkSettings.IPAddress}}");
  const asked = await output(sh(`ping -c 1 -w 5 ${address} >/dev/null && echo answers`), ["--network", "bridge"]);
  expect(asked).toBe("answers\n");
});

test("a published port", async ({ started, engine, docker }) => {
  const id = await started(serves("from inside", 8080), ["-p", "127.0.0.1:8123:8080"]);
  expect(success(await docker("port", id)).stdout).toBe("8080/tcp -> 127.0.0.1:8123\n");
  const fetch = () => engine.here(["busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8123/"]);
  await until(async () => (await fetch()).stdout === "from inside\n");
  success(await docker("rm", "--force", id));
  expect((await fetch()).status).not.toBe(0);
});

test("container:ID: the network of another container", async ({ started, output, exec }) => {
  const id = await started(serves("shared", 8080), ["--network", "bridge"]);
  const network = ["--network", `container:${id}`];
  expect(await output(NETWORK, network)).toBe(success(await exec(id, NETWORK)).stdout);
  await until(async () => (await exec(id, sh("netstat -lnt | grep -q :8080"))).status === 0);
  expect(await output(sh("wget -q -O - http://127.0.0.1:8080/"), network)).toBe("shared\n");
});

test("a network of one's own: names, aliases, connect and disconnect", async ({ docker, name, started, exec }) => {
  const network = name();
  success(await docker("network", "create", network));
  const first = await started(sleep, ["--network", network, "--network-alias", "other-name"]);
  const second = await started(sleep, ["--network", network]);
  const reaches = (id: string, host: string) => exec(id, ["ping", "-c", "1", "-w", "5", host]);
  success(await reaches(second, first));
  success(await reaches(second, "other-name"));
  const third = await started(sleep, ["--network", "bridge"]);
  expect((await reaches(third, first)).status).not.toBe(0);
  success(await docker("network", "connect", network, third));
  success(await reaches(third, first));
  expect(success(await exec(third, interfaces)).stdout).toBe("eth0\neth1\nlo\n");
  success(await docker("network", "disconnect", network, third));
  expect(success(await exec(third, interfaces)).stdout).toBe("eth0\nlo\n");
});

test("macvlan on one end of a pair of interfaces", async ({ docker, name, started, exec, engine, inspect }) => {
  const here = async (...argv: string[]) => success(await engine.here(argv));
  await here("ip", "link", "add", "pair0", "type", "veth", "peer", "name", "pair1");
  try {
    await here("ip", "link", "set", "pair0", "up");
    await here("ip", "link", "set", "pair1", "up");
    await here("ip", "addr", "add", "10.88.7.1/24", "dev", "pair1");
    const network = name();
    const create = ["--driver", "macvlan", "--subnet", "10.88.7.0/24", "--gateway", "10.88.7.1", "-o", "parent=pair0"];
    success(await docker("network", "create", ...create, network));
    const id = await started(sleep, ["--network", network, "--ip", "10.88.7.9"]);
    success(await exec(id, ["ping", "-c", "1", "-w", "5", "10.88.7.1"]));
    await here("busybox", "ping", "-c", "1", "-w", "5", "10.88.7.9");
    expect(await inspect(id, `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`)).toBe("10.88.7.9");
    success(await docker("rm", "--force", id));
    success(await docker("network", "rm", network));
  } finally {
    command(engine.inNetwork(["ip", "link", "del", "pair0"]));
  }
});

test("names that docker writes: hostname, hosts, resolv.conf", async ({ output, note }) => {
  const options = ["--network", "bridge", "--hostname", "chosen", "--domainname", "example.test"];
  const more = ["--add-host", "friend:10.1.2.3", "--dns", "10.9.8.7", "--dns-search", "example.test"];
  const seen = await output(
    sh("hostname; hostname -f; cat /etc/hosts /etc/resolv.conf; cat /proc/sys/kernel/domainname"),
    [...options, ...more],
  );
  note("names", seen.replaceAll(/^172\.\d+\.\d+\.\d+/gm, "ADDRESS"));
  expect(seen).toContain("10.1.2.3\tfriend\n");
  expect(seen).toContain("nameserver 10.9.8.7\n");
});

test("a network's sysctl, and the mac address", async ({ output }) => {
  const options = [
    "--network",
    "bridge",
    "--sysctl",
    "net.ipv4.ip_unprivileged_port_start=7",
    "--mac-address",
    "02:42:00:00:00:07",
  ];
  const seen = await output(
    sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /sys/class/net/eth0/address"),
    options,
  );
  expect(seen).toBe("7\n02:42:00:00:00:07\n");
});
