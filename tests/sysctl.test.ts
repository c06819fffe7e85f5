import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { share, unshare } from "./helpers/config.ts";
import { type Change, suite } from "./helpers/suite.ts";

const { test, see, refusal } = suite("sysctl");

const set =
  (values: Record<string, string>): Change =>
  (config) => {
    config.linux.sysctl = values;
  };

const value = (name: string): string => `cat /proc/sys/${name}`;

test("net, with a network namespace", () => {
  expect(see(value("net/ipv4/ip_forward"), set({ "net.ipv4.ip_forward": "1" }))).toBe("1");
});

test("the host's value stays", () => {
  const before = readFileSync("/proc/sys/net/ipv4/ip_default_ttl", "utf8");
  expect(see(value("net/ipv4/ip_default_ttl"), set({ "net.ipv4.ip_default_ttl": "77" }))).toBe("77");
  expect(readFileSync("/proc/sys/net/ipv4/ip_default_ttl", "utf8")).toBe(before);
});

test("slashes instead of dots", () => {
  expect(see(value("net/ipv4/ip_default_ttl"), set({ "net/ipv4/ip_default_ttl": "78" }))).toBe("78");
});

test("kernel.shm*, msg*, sem and fs.mqueue, with an IPC namespace", () => {
  const values = {
    "kernel.shmmax": "1234567",
    "kernel.msgmax": "7777",
    "kernel.sem": "250 32000 32 100",
    "fs.mqueue.msg_max": "9",
  };
  const names = ["kernel/shmmax", "kernel/msgmax", "kernel/sem", "fs/mqueue/msg_max"];
  const seen = see(names.map(value).join("; "), set(values)).split("\n");
  expect(seen.map((line) => line.replaceAll("\t", " "))).toEqual(["1234567", "7777", "250 32000 32 100", "9"]);
});

test("kernel.domainname, with a UTS namespace", () => {
  expect(see(value("kernel/domainname"), set({ "kernel.domainname": "a.domain" }))).toBe("a.domain");
});

test("several at once", () => {
  const change = set({ "net.ipv4.ip_forward": "1", "kernel.msgmax": "8888" });
  expect(see(`${value("net/ipv4/ip_forward")}; ${value("kernel/msgmax")}`, change)).toBe("1\n8888");
});

test("applied though /proc/sys is read-only for the container", () => {
  const seen = see(value("net/ipv4/ip_forward"), (config, at) => {
    set({ "net.ipv4.ip_forward": "1" })(config, at);
    config.linux.readonlyPaths = ["/proc/sys"];
  });
  expect(seen).toBe("1");
});

const REFUSED: readonly (readonly [title: string, name: string, text: RegExp, change?: Change])[] = [
  ["one that is not of a namespace", "vm.swappiness", /not in a separate kernel namespace/],
  [
    "net in the host's network namespace",
    "net.ipv4.ip_forward",
    /not allowed in host network namespace/,
    (c) => share(c, "network"),
  ],
  [
    "kernel.msgmax in the host's IPC namespace",
    "kernel.msgmax",
    /not allowed in the hosts? ipc namespace/,
    (c) => share(c, "ipc"),
  ],
  [
    "fs.mqueue in the host's IPC namespace",
    "fs.mqueue.msg_max",
    /not allowed in the hosts? ipc namespace/,
    (c) => share(c, "ipc"),
  ],
  [
    "kernel.hostname in the host's UTS namespace",
    "kernel.hostname",
    /not allowed in the hosts? UTS namespace|not in a separate kernel namespace/i,
    (c) => {
      share(c, "uts");
      delete c.hostname;
    },
  ],
  ["kernel.hostname, which hostname is for", "kernel.hostname", /hostname/],
  [
    "net in the host's network namespace, named by its path",
    "net.ipv4.ip_forward",
    /not allowed in host network namespace/,
    (c) => unshare(c, "network", "/proc/self/ns/net"),
  ],
  ["one that does not exist", "net.ipv4.no_such_thing", /no_such_thing/],
  ["one that climbs", "net/../kernel/core_pattern", /core_pattern/],
];

for (const [title, name, text, change] of REFUSED) {
  test(`refused: ${title}`, () => {
    const core = readFileSync("/proc/sys/kernel/core_pattern", "utf8");
    const stderr = refusal((config, at) => {
      set({ [name]: "1" })(config, at);
      change?.(config, at);
    });
    expect(stderr).toMatch(text);
    expect(stderr).toContain(name.split(/[./]/).at(-1)!);
    expect(readFileSync("/proc/sys/kernel/core_pattern", "utf8")).toBe(core);
  });
}

test("refused: a value that the kernel does not take, by name", () => {
  const stderr = refusal(set({ "net.ipv4.ip_default_ttl": "many" }));
  expect(stderr).toMatch(/ip_default_ttl/);
  expect(stderr).toContain("invalid argument");
});
