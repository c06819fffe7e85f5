import { expect, test } from "bun:test";
import { isAlive, processStartTime, readProcess } from "./process.ts";

/** The number of exit(2), which ends one thread, unlike exit_group(2). */
const SYS_exit = process.arch === "x64" ? 60 : 93;

test("a process lives as long as one of its threads, and is dead as a zombie", async () => {
  const script = `
    import { dlopen } from "bun:ffi";
    const libc = dlopen("libc.so.6", { syscall: { args: ["i64", "i64"], returns: "i64" } });
    new Worker("data:text/javascript,setInterval(() => {}, 1000)");
    setTimeout(() => libc.symbols.syscall(${SYS_exit}, 0), 50);`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdio: ["ignore", "ignore", "inherit"] });
  const start = processStartTime(child.pid);
  try {
    for (let wait = 0; wait < 1000 && readProcess(child.pid)?.state !== "Z"; wait++) Bun.sleepSync(10);
    expect(readProcess(child.pid)).toMatchObject({ state: "Z", startTime: start });
    expect(isAlive(child.pid, start)).toBe(true);
    expect(isAlive(child.pid, start + 1)).toBe(false);
    child.kill("SIGKILL");
    // Bun has not waited for it yet.
    for (let wait = 0; wait < 1000 && (readProcess(child.pid)?.threads ?? 0) > 1; wait++) Bun.sleepSync(10);
    expect(isAlive(child.pid, start)).toBe(false);
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
});
