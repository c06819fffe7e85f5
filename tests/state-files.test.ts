import { expect } from "bun:test";
import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { command } from "./helpers/command.ts";
import { removeLeaks } from "./helpers/leaks.ts";
import { mustFail, mustSucceed, RUNTIME_NAME, suite } from "./helpers/suite.ts";

const { test, started, runtime, remove, exec, status, root, after } = suite("state-files");

const stateOf = (id: string): string => `${root}/${id}/state.json`;

test("another container's state is not believed, and the other is left alone", () => {
  const [a, b] = [started(), started()];
  copyFileSync(stateOf(b.id), stateOf(a.id));
  for (const words of [
    ["kill", a.id, "KILL"],
    ["pause", a.id],
    ["exec", a.id, "/bin/true"],
    ["delete", a.id],
  ]) {
    const result = runtime(words);
    expect([words[0], result.status > 0, result.stderr.includes(`state of container "${b.id}"`)]).toEqual([
      words[0],
      true,
      true,
    ]);
  }
  mustSucceed(remove(a, { flags: ["--force"] }));
  expect(status(b)).toBe("running");
  mustSucceed(exec(b, ["/bin/true"]));
});

test("a process that has the id of the container's by now is left alone", () => {
  const b = started();
  const stranger = Bun.spawn(["/bin/sleep", "1000"], { stdio: ["ignore", "ignore", "ignore"] });
  after(() => stranger.kill("SIGKILL"));
  const state = JSON.parse(readFileSync(stateOf(b.id), "utf8")) as object;
  writeFileSync(stateOf(b.id), JSON.stringify({ ...state, init_process_pid: stranger.pid }));
  expect(status(b)).toBe("stopped");
  mustFail(runtime(["kill", b.id, "USR1"]), "container not running");
  mustSucceed(remove(b, { flags: ["--force"] }));
  expect([stranger.exitCode, stranger.signalCode]).toEqual([null, null]);
});

const nobodyWaits = () => {
  for (const name of ["state.json", "config.json"]) {
    const b = started();
    const file = `${root}/${b.id}/${name}`;
    rmSync(file);
    mustSucceed(command(["mkfifo", file]));
    expect(runtime(["state", b.id]).status).toBe(name === "state.json" ? 1 : 0);
    mustSucceed(remove(b, { flags: ["--force"] }));
  }
};
test("nobody waits for a FIFO in the place of a file", nobodyWaits, {
  skip: RUNTIME_NAME !== "tsrun" && `${RUNTIME_NAME} hangs, or has no such file`,
});

test("without a state.json nobody knows whose processes there are: delete --force says so", () => {
  const b = started();
  after(() => removeLeaks(b.id));
  rmSync(stateOf(b.id));
  const result = mustSucceed(remove(b, { flags: ["--force"] }));
  expect(result.stderr).toMatch(/^warning: whose the processes in cgroup .* are is not known: left as they are$/m);
  expect(existsSync(`${root}/${b.id}`)).toBe(false);
});
