import { expect } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { type CapabilitySet, grant } from "./helpers/config.ts";
import { type Bundle, type Change, mustSucceed, suite } from "./helpers/suite.ts";
import { writeSyscallProgram } from "./helpers/syscall-program.ts";

const { test, see, bundle, run, started, exec, runtime } = suite("capabilities");

/** CAP_* → bit. */
const BITS = new Map<string, number>([
  ["CAP_CHOWN", 0],
  ["CAP_DAC_OVERRIDE", 1],
  ["CAP_KILL", 5],
  ["CAP_NET_BIND_SERVICE", 10],
  ["CAP_NET_ADMIN", 12],
  ["CAP_SYS_ADMIN", 21],
  ["CAP_AUDIT_WRITE", 29],
  ["CAP_SYSLOG", 34],
  ["CAP_BPF", 39],
  ["CAP_CHECKPOINT_RESTORE", 40],
]);

const LINES = new Map<CapabilitySet, string>([
  ["inheritable", "CapInh"],
  ["permitted", "CapPrm"],
  ["effective", "CapEff"],
  ["bounding", "CapBnd"],
  ["ambient", "CapAmb"],
]);

const mask = (...names: string[]): bigint => names.reduce((bits, name) => bits | (1n << BigInt(BITS.get(name)!)), 0n);

function sets(text: string): Map<string, bigint> {
  return new Map([...text.matchAll(/^(Cap...):\t([0-9a-f]+)$/gm)].map((found) => [found[1]!, BigInt(`0x${found[2]}`)]));
}

const SHOW = "grep ^Cap /proc/self/status";

const give =
  (given: Partial<Record<CapabilitySet, string[]>>): Change =>
  (config) => {
    config.process.capabilities = given;
  };

test("all five sets of a user other than root", () => {
  const all = ["CAP_KILL", "CAP_NET_ADMIN", "CAP_BPF"];
  const given = {
    bounding: [...BITS.keys()],
    permitted: all,
    effective: ["CAP_KILL"],
    inheritable: all,
    ambient: ["CAP_KILL", "CAP_BPF"],
  };
  const seen = see(SHOW, (config, at) => {
    give(given)(config, at);
    config.process.user = { uid: 1000, gid: 1000 };
  });
  const found = sets(seen);
  expect(found.get("CapInh")).toBe(mask(...all));
  expect(found.get("CapBnd")).toBe(mask(...BITS.keys()));
  expect(found.get("CapAmb")).toBe(mask("CAP_KILL", "CAP_BPF"));
  // execve gives a user the ambient set, not what was permitted before.
  expect(found.get("CapPrm")).toBe(mask("CAP_KILL", "CAP_BPF"));
  expect(found.get("CapEff")).toBe(mask("CAP_KILL", "CAP_BPF"));
});

for (const name of BITS.keys()) {
  test(`${name} alone, as root`, () => {
    const found = sets(see(SHOW, give({ bounding: [name], permitted: [name], effective: [name] })));
    for (const line of ["CapPrm", "CapEff", "CapBnd"]) expect([line, found.get(line)]).toEqual([line, mask(name)]);
    expect(found.get("CapInh")).toBe(0n);
    expect(found.get("CapAmb")).toBe(0n);
  });
}

test("none at all", () => {
  const found = sets(see(SHOW, give({})));
  for (const line of LINES.values()) expect([line, found.get(line)]).toEqual([line, 0n]);
});

test("without the property, none", () => {
  const found = sets(see(SHOW, (config) => delete config.process.capabilities));
  for (const line of ["CapPrm", "CapEff", "CapInh", "CapAmb"]) expect([line, found.get(line)]).toEqual([line, 0n]);
});

test("another user has none without ambient ones", () => {
  const seen = see(SHOW, (config) => {
    config.process.user = { uid: 1000, gid: 1000 };
  });
  const found = sets(seen);
  expect(found.get("CapPrm")).toBe(0n);
  expect(found.get("CapEff")).toBe(0n);
  expect(found.get("CapBnd")).toBe(mask("CAP_KILL"));
});

test("what is not in the bounding set cannot be had", () => {
  const b = bundle((config) => {
    config.process.args = ["/bin/sh", "-c", "hostname changed"];
  });
  expect(run(b).stderr).toContain("Operation not permitted");
});

test("what is granted can be used", () => {
  const seen = see(
    "hostname changed && hostname",
    give({ bounding: ["CAP_SYS_ADMIN"], permitted: ["CAP_SYS_ADMIN"], effective: ["CAP_SYS_ADMIN"] }),
  );
  expect(seen).toBe("changed");
});

test("an unknown name: a warning that names it, and the container runs", () => {
  const b = bundle((config) => {
    give({ bounding: ["CAP_KILL", "CAP_TIME_TRAVEL"], permitted: ["CAP_KILL"], effective: ["CAP_KILL"] })(
      config,
      {} as never,
    );
    config.process.args = ["/bin/sh", "-c", SHOW];
  });
  const result = mustSucceed(run(b));
  expect(result.stderr).toContain("CAP_TIME_TRAVEL");
  expect(result.stderr).toMatch(/warn/i);
  expect(sets(result.stdout).get("CapBnd")).toBe(mask("CAP_KILL"));
});

test("one that the caller itself does not have: a warning that names it, and the container runs", () => {
  const b = bundle((config) => {
    const names = ["CAP_KILL", "CAP_NET_RAW"];
    give({ bounding: names, permitted: names, effective: names })(config, {} as never);
    config.process.args = ["/bin/sh", "-c", SHOW];
  });
  const result = mustSucceed(run(b, { through: ["setpriv", "--bounding-set", "-net_raw"] }));
  expect(sets(result.stdout).get("CapEff")).toBe(mask("CAP_KILL"));
});

test("exec has the capabilities of the config", () => {
  const b = started();
  const found = sets(mustSucceed(exec(b, ["/bin/sh", "-c", SHOW])).stdout);
  for (const line of ["CapPrm", "CapEff", "CapBnd"]) expect([line, found.get(line)]).toEqual([line, mask("CAP_KILL")]);
});

test("exec --cap adds to all but the inheritable and ambient sets", () => {
  const b = started();
  const flags = ["--cap", "CAP_NET_ADMIN"];
  const found = sets(mustSucceed(exec(b, ["/bin/sh", "-c", SHOW], { flags })).stdout);
  const both = mask("CAP_KILL", "CAP_NET_ADMIN");
  for (const line of ["CapPrm", "CapEff", "CapBnd"]) expect([line, found.get(line)]).toEqual([line, both]);
  expect(found.get("CapInh")).toBe(0n);
  expect(found.get("CapAmb")).toBe(0n);
});

const INHERITABLE = { bounding: ["CAP_KILL", "CAP_BPF"], inheritable: ["CAP_KILL"], permitted: ["CAP_KILL"] };

test("exec --cap adds nothing to the inheritable capabilities of a container that has some", () => {
  const b = started(give(INHERITABLE));
  const found = sets(mustSucceed(exec(b, ["/bin/sh", "-c", SHOW], { flags: ["--cap", "CAP_BPF"] })).stdout);
  expect(found.get("CapInh")).toBe(mask("CAP_KILL"));
  expect(found.get("CapAmb")).toBe(0n);
  expect(found.get("CapPrm")).toBe(mask("CAP_KILL", "CAP_BPF"));
});

/** What a process of exec has when its file says this of capabilities. */
function execProcess(b: Bundle, capabilities: unknown, more: object = {}): Map<string, bigint> {
  const file = `${b.dir}/process.json`;
  const process = { ...b.config.process, args: ["/bin/sh", "-c", SHOW], capabilities, ...more };
  writeFileSync(file, JSON.stringify(process));
  return sets(mustSucceed(runtime(["exec", "--process", file, b.id])).stdout);
}

test("exec --process: all five sets are those of the file", () => {
  const b = started();
  const all = ["CAP_KILL", "CAP_BPF"];
  const given = { bounding: all, permitted: all, effective: all, inheritable: all, ambient: ["CAP_BPF"] };
  const found = execProcess(b, given, { user: { uid: 1000, gid: 1000 } });
  expect(found.get("CapInh")).toBe(mask(...all));
  expect(found.get("CapBnd")).toBe(mask(...all));
  for (const line of ["CapAmb", "CapPrm", "CapEff"]) expect([line, found.get(line)]).toEqual([line, mask("CAP_BPF")]);
});

test("exec --process of a file without capabilities: those of the container", () => {
  const found = execProcess(started(give(INHERITABLE)), undefined);
  expect(found.get("CapBnd")).toBe(mask("CAP_KILL", "CAP_BPF"));
  expect(found.get("CapInh")).toBe(mask("CAP_KILL"));
});

test("inheritable ones that the bounding set does not have: a warning that names them, and the container runs", () => {
  const b = bundle((config) => {
    config.process.capabilities = { bounding: ["CAP_KILL"], inheritable: ["CAP_KILL", "CAP_CHOWN"] };
    config.process.args = ["/bin/sh", "-c", SHOW];
  });
  const result = mustSucceed(run(b));
  expect(result.stderr).toContain("CAP_CHOWN");
  expect(sets(result.stdout).get("CapInh")).toBe(mask("CAP_KILL"));
});

const PRCTL = 157;
const PR_GET_SECUREBITS = 27n;
const GETEUID = 107;

for (const uid of [0, 1000]) {
  test(`the securebits of user ${uid} are as they were: nothing is left of the change of user`, () => {
    const b = bundle((config, { rootfs }) => {
      writeSyscallProgram(`${rootfs}/securebits`, { number: PRCTL, args: [PR_GET_SECUREBITS, 0n, 0n, 0n, 0n] });
      config.process.args = ["/securebits"];
      config.process.user = { uid, gid: uid };
    });
    expect(run(b).status).toBe(0);
  });
}

for (const [title, noNewPrivileges, status] of [
  ["gives a user another identity", false, 0],
  ["does not with noNewPrivileges", true, (256 - 1000) & 0xff],
] as const) {
  test(`a set-uid program ${title}`, () => {
    const b = bundle((config, { rootfs }) => {
      writeSyscallProgram(`${rootfs}/who`, { number: GETEUID });
      chmodSync(`${rootfs}/who`, 0o4755);
      config.process.args = ["/who"];
      config.process.user = { uid: 1000, gid: 1000 };
      config.process.noNewPrivileges = noNewPrivileges;
      grant(config, "CAP_SETUID");
    });
    expect(run(b).status).toBe(status);
  });
}
