import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { nativeArch } from "../../src/abi/syscalls.ts";
import { assemble, canAssemble, listingOf } from "../assemble.ts";
import { addWarmStart } from "./freeze.ts";
import { NAMES, startCode } from "./start-code.ts";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(`${tmpdir()}/tsrun-warm-`);
});
afterAll(() => rmSync(directory, { recursive: true }));

test.skipIf(!canAssemble("x86-64"))("the machine code is what its listing says (needs binutils)", () => {
  const listing = listingOf(readFileSync(`${import.meta.dir}/start-code.ts`, "utf8"), "codeX86_64");
  expect(assemble(listing, "x86-64", NAMES, directory)).toBe(startCode());
});

const kernel = resolve(import.meta.dir, "../../src/kernel");

const ROOM = 2 ** 20;

/** What it does is said by its first argument. */
const PROGRAM = `
  import { sys } from "${kernel}/kernel.ts";
  import { environment, freeze, isToFreeze, programArguments, startCold } from "${kernel}/warm-start.ts";
  const start = { kind: "cold" };
  const room = new Uint8Array(${ROOM}).fill(1);
  if (isToFreeze()) {
    start.kind = "warm";
    freeze();
  }
  const args = programArguments();
  // One of the commands that the build looks at.
  if (args.includes("run")) room.fill(2);
  const bytes = Buffer.from(JSON.stringify({ start: start.kind, args, env: environment(), ...answer() }));
  sys("write", 1, bytes, bytes.length);
  sys("exit_group", 0);

  function answer() {
    switch (args[0]) {
      case "maps": return { maps: require("node:fs").readFileSync("/proc/self/maps", "utf8") };
      case "status": return { status: require("node:fs").readFileSync("/proc/self/status", "utf8") };
      case "descriptors": return { count: [...Array(20).keys()].filter((fd) => sys("fcntl", fd, 1, 0) >= 0) };
      case "limit": {
        const limit = new BigUint64Array(2);
        sys("prlimit64", 0, 7, 0, limit);
        return { limit: Number(limit[0]) };
      }
      case "garbage": {
        let kept = [];
        for (let i = 0; i < 2e6; i++) {
          kept.push({ i, text: "text " + i });
          if (kept.length > 1e5) kept = [];
        }
        Bun.gc(true);
        return { last: kept.at(-1) };
      }
      case "throw": throw new Error("thrown");
      case "again": startCold();
    }
    return {};
  }`;

function compile(name: string, code: string): Uint8Array {
  writeFileSync(`${directory}/${name}.ts`, code);
  const command = [process.execPath, "build", "--compile", `--outfile=${directory}/${name}`, `${directory}/${name}.ts`];
  expect(Bun.spawnSync(command, { cwd: directory }).stderr.toString()).toBe("");
  return readFileSync(`${directory}/${name}`);
}

function folderFor(name: string): string {
  mkdirSync(`${directory}/${name}`);
  return `${directory}/${name}`;
}

interface Answer {
  start: string;
  args: string[];
  env: Record<string, string>;
  [name: string]: unknown;
}

describe.skipIf(nativeArch !== "x86-64")("a frozen program (x86-64 only)", () => {
  const program = () => `${directory}/frozen`;
  beforeAll(() => {
    const file = addWarmStart(compile("program", PROGRAM), folderFor("freezing"));
    writeFileSync(program(), file, { mode: 0o755 });
  });

  function answer(command: string, env: Record<string, string> = {}): Answer {
    const { stdout, stderr } = Bun.spawnSync(["sh", "-c", command], { env });
    expect(stderr.toString()).toBe("");
    return JSON.parse(stdout.toString());
  }

  /** The program with `to` in place of `from`, which is there once. */
  function changed(name: string, from: Buffer, to: Buffer): string {
    const file = readFileSync(program());
    const at = file.lastIndexOf(from);
    expect(at).toBeGreaterThan(0);
    to.copy(file, at);
    writeFileSync(`${directory}/${name}`, file, { mode: 0o755 });
    return `${directory}/${name}`;
  }

  test("goes on where it was frozen", () => {
    expect(answer(`exec ${program()}`).start).toBe("warm");
  });

  test("has the arguments and the environment of its caller", () => {
    const { start, args, env } = answer(`exec ${program()} a '' 'ü b' --c`, { A: "1", B: "x=y", C: "" });
    expect({ start, args }).toEqual({ start: "warm", args: ["a", "", "ü b", "--c"] });
    expect(env).toMatchObject({ A: "1", B: "x=y", C: "" });
    expect(Object.keys(env).filter((name) => /^(BUN|GLIBC|LD|TSRUN)_/.test(name))).toEqual([]);
    expect(answer(`exec env -i ${program()}`).env).toEqual({});
    expect(answer(`exec ${program()} $(seq 2000)`).args.length).toBe(2000);
  });

  test("is another process each time, and leaves limits and descriptors as they are", () => {
    const pids = [1, 2].map(() => /^Pid:\t(\d+)/m.exec(String(answer(`exec ${program()} status`).status))![1]);
    expect(pids[0]).not.toBe(pids[1]);
    expect(answer(`ulimit -Sn 1234; exec ${program()} limit`).limit).toBe(1234);
    // Those of the test itself.
    const closed = "3<&- 4<&- 5<&- 6<&- 7<&-";
    expect(answer(`exec ${program()} descriptors ${closed}`).count).toEqual([0, 1, 2]);
    expect(answer(`exec ${program()} descriptors ${closed} 5</dev/null`).count).toEqual([0, 1, 2, 5]);
  });

  test("has its memory where the kernel places nothing of another process", () => {
    const areas = String(answer(`exec ${program()} maps`).maps)
      .trimEnd()
      .split("\n")
      .map((line) => ({
        start: parseInt(line, 16),
        end: parseInt(line.split("-")[1]!, 16),
        name: line.split(/ +/)[5],
      }));
    const isKernels = ({ name }: { name: string | undefined }) => /^\[(stack|vdso|vvar.*)\]$/.test(name ?? "");
    const lowest = Math.min(...areas.filter(isKernels).map(({ start }) => start));
    const kept = areas.filter(({ name }) => name === program());
    expect(kept.length).toBeGreaterThan(25);
    const highest = Math.max(...kept.map(({ end }) => end));
    expect(lowest - highest).toBeGreaterThan(2 ** 44);
  });

  test("ignores what Bun ignores, lets the signals wait that are to be passed on, and has one thread", () => {
    const status = String(answer(`exec ${program()} status`).status);
    const mask = (name: string) => BigInt(`0x${new RegExp(`^${name}:\t(.*)$`, "m").exec(status)![1]}`);
    expect(mask("SigIgn") & ((1n << 12n) | (1n << 24n))).toBe((1n << 12n) | (1n << 24n));
    expect(mask("SigBlk")).toBe(0xfffffffe1affeb07n & ~((1n << 8n) | (1n << 18n)));
    expect(status).toMatch(/^Threads:\t1$/m);
  });

  test("collects its garbage", () => {
    expect(answer(`exec ${program()} garbage`)).toMatchObject({ start: "warm", last: { i: 1999999 } });
  });

  test("says what it has not caught", () => {
    const { exitCode, stderr } = Bun.spawnSync([program(), "throw"]);
    expect(exitCode).toBe(1);
    expect(stderr.toString()).toContain("error: thrown");
  });

  test("begins anew as Bun does, when it asks for that", () => {
    const { start, args, env } = answer(`exec ${program()} again 'b c'`, { A: "1" });
    expect({ start, args }).toEqual({ start: "cold", args: ["again", "b c"] });
    expect(env.A).toBe("1");
    expect(env.BUN_COLD).toBeUndefined();
  });

  test("starts cold when it is told to", () => {
    const { start, args, env } = answer(`exec ${program()} a`, { A: "1", BUN_COLD: "1", B: "2" });
    expect({ start, args }).toEqual({ start: "cold", args: ["a"] });
    expect(env).toMatchObject({ A: "1", B: "2" });
  });

  test("starts cold with a standard descriptor closed, and has all three then", () => {
    expect(answer(`exec ${program()} descriptors <&-`)).toMatchObject({ start: "cold" });
    expect(answer(`exec ${program()} descriptors <&-`).count).toContain(0);
  });

  test("starts cold on a processor that has less", () => {
    const file = readFileSync(program());
    const code = Buffer.from(startCode(), "hex");
    const kind = file.lastIndexOf(code) + code.length + NAMES.KIND;
    const more = Buffer.from(file.subarray(kind, kind + 8));
    more.writeUInt32LE(0xffffffff, 4); // What no processor says in this place.
    const before = Buffer.concat([code, file.subarray(kind - NAMES.KIND, kind + 8)]);
    const other = changed("other-processor", before, Buffer.concat([before.subarray(0, -8), more]));
    expect(answer(`exec ${other} a`)).toMatchObject({ start: "cold", args: ["a"] });
  });

  test("starts cold where it cannot open itself", () => {
    const other = changed("no-proc", Buffer.from("/proc/self/exe\0tsrun"), Buffer.from("/proc/self/exf"));
    expect(answer(`exec ${other}`).start).toBe("cold");
  });

  test.skipIf(Bun.which("strace") === null)("is given what a command is known to write (needs strace)", () => {
    const given = (...words: string[]) => {
      const { stderr } = Bun.spawnSync(["strace", "-e", "trace=madvise", program(), ...words]);
      const calls = stderr.toString().matchAll(/^madvise\(0x\w+, (\d+), (?:MADV_POPULATE_WRITE|0x17.*)\) += 0$/gm);
      return [...calls].reduce((sum, [, length]) => sum + Number(length), 0);
    };
    const others = given();
    expect(others).toBeGreaterThan(0);
    expect(given("run")).toBeGreaterThanOrEqual(others + ROOM);
    expect(given("--root", "/run/x", "run", "name")).toBe(given("run"));
    // Names that begin alike, and commands that no list is for.
    expect(["ru", "running", "--run", ""].map((word) => given(word))).toEqual([others, others, others, others]);
  });

  describe.skipIf(Bun.which("strace") === null)("where its memory cannot be mapped (needs strace)", () => {
    const calls = () => {
      const { stderr } = Bun.spawnSync(["strace", "-e", "trace=mmap", program()]);
      return stderr.toString().match(/^mmap/gm)!.length;
    };
    const refused = (call: number) => {
      const inject = `inject=mmap:error=EACCES:when=${call}`;
      return Bun.spawnSync(["strace", "-o", "/dev/null", "-e", "trace=mmap", "-e", inject, program()], { env: {} });
    };

    test("starts cold", () => {
      for (const call of [1, 2, Math.floor(calls() / 2)]) {
        expect(JSON.parse(refused(call).stdout.toString())).toMatchObject({ start: "cold" });
      }
    });

    test("says so when it has lost its own data already", () => {
      const { exitCode, stderr } = refused(calls());
      expect(exitCode).toBe(127);
      expect(stderr.toString()).toBe("tsrun: cannot start: its memory or its dynamic loader cannot be mapped\n");
    });
  });
});

describe.skipIf(nativeArch !== "x86-64")("addWarmStart refuses (x86-64 only)", () => {
  test("a program that ends before it is frozen", () => {
    const file = compile("ends", "process.exit(3);");
    expect(() => addWarmStart(file, folderFor("ends-folder"))).toThrow("it does not come to where it should stop");
  }, 60_000);

  test("a program with threads", () => {
    const code = `
      import { freeze } from "${kernel}/warm-start.ts";
      new Worker(URL.createObjectURL(new Blob(["setInterval(() => {}, 1000)"])));
      await Bun.sleep(100);
      freeze();`;
    const file = compile("threads", code);
    expect(() => addWarmStart(file, folderFor("threads-folder"))).toThrow(/it has \d+ threads/);
  }, 60_000);
});
