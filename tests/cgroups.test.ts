import { expect } from "bun:test";
import { existsSync, mkdirSync, rmdirSync } from "node:fs";
import { unshare } from "./helpers/config.ts";
import { cgroupsOf } from "./helpers/leaks.ts";
import { type Change, mustSucceed, type RunOptions, suite, until } from "./helpers/suite.ts";

const { test, started, bundle, run, remove, kill, untilStatus, exec, after } = suite("cgroups");

const onlyV2 = existsSync("/sys/fs/cgroup/cgroup.controllers");

/** How the runtime sees the machine's cgroups. */
const VIEWS: readonly (readonly [title: string, options: RunOptions, unified: boolean])[] = onlyV2
  ? [["v2", {}, true]]
  : [
      ["v1 and mixed", {}, false],
      ["v2", { view: "v2" }, true],
    ];

const at =
  (path: (id: string) => string | undefined): Change =>
  (config, { id }) => {
    const chosen = path(id);
    if (chosen === undefined) delete config.linux.cgroupsPath;
    else config.linux.cgroupsPath = chosen;
  };

/** Hierarchies → path, as /proc/self/cgroup has them. */
function paths(text: string): Map<string, string> {
  return new Map(
    text
      .trim()
      .split("\n")
      .map((line) => [line.split(":")[1]!, line.split(":").slice(2).join(":")]),
  );
}

for (const [title, options, unified] of VIEWS) {
  const all = (seen: Map<string, string>): string[] => (unified ? [seen.get("")!] : [...seen.values()]);

  test(`${title}: an absolute cgroupsPath is from the top`, () => {
    const b = bundle((config, made) => {
      at((id) => `/${id}/deeper/still`)(config, made);
      config.process.args = ["/bin/cat", "/proc/self/cgroup"];
    });
    after(() => removeEmpty(b.id));
    const seen = all(paths(mustSucceed(run(b, options)).stdout));
    expect(new Set(seen)).toEqual(new Set([`/${b.id}/deeper/still`]));
  });

  test(`${title}: a relative cgroupsPath, and none, are below the caller's own`, () => {
    for (const path of [(id: string) => `${id}/below`, () => undefined]) {
      const b = bundle((config, made) => {
        at(path)(config, made);
        config.process.args = ["/bin/cat", "/proc/self/cgroup"];
      });
      after(() => removeEmpty(b.id));
      for (const seen of all(paths(mustSucceed(run(b, options)).stdout))) expect(seen).toContain(b.id);
    }
  });

  test(`${title}: with .. in it, it stays below`, () => {
    const b = bundle((config, made) => {
      at((id) => `/../../${id}`)(config, made);
      config.process.args = ["/bin/cat", "/proc/self/cgroup"];
    });
    for (const seen of all(paths(mustSucceed(run(b, options)).stdout))) expect(seen).toBe(`/${b.id}`);
  });

  test(`${title}: there while the container is, gone with it`, () => {
    const b = started(undefined, options);
    expect(cgroupsOf(b.id).length).toBeGreaterThanOrEqual(unified ? 1 : 2);
    mustSucceed(kill(b, "KILL"));
    untilStatus(b, "stopped");
    mustSucceed(remove(b, options));
    expect(cgroupsOf(b.id)).toEqual([]);
  });

  test(`${title}: cgroups that the container has made below its own are gone with it`, () => {
    const b = started((config) => {
      unshare(config, "cgroup");
      config.mounts.push({ destination: "/sys", type: "sysfs", source: "sysfs" });
      config.mounts.push({ destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["rw"] });
    }, options);
    const top = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    const script = `mkdir -p ${top}/one/two && sh -c 'echo $$ > ${top}/one/two/cgroup.procs; exec sleep 1000' > /dev/null 2>&1 < /dev/null &`;
    mustSucceed(exec(b, ["/bin/sh", "-c", `${script} sleep 0.1`], options));
    until(() => cgroupsOf(b.id).some((path) => path.endsWith("/one/two")), "the cgroups to be made");
    mustSucceed(remove(b, { ...options, flags: ["--force"] }));
    expect(cgroupsOf(b.id)).toEqual([]);
  });

  test(`${title}: exec is in it`, () => {
    const b = started(undefined, options);
    const seen = all(paths(mustSucceed(exec(b, ["/bin/cat", "/proc/self/cgroup"], options)).stdout));
    expect(new Set(seen)).toEqual(new Set([`/${b.id}`]));
  });

  test(`${title}: one that is there already is used`, () => {
    const dirs: string[] = [];
    const b = bundle((config, made) => {
      const roots = onlyV2
        ? ["/sys/fs/cgroup"]
        : unified
          ? ["/sys/fs/cgroup/unified"]
          : ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"];
      for (const dir of roots) {
        mkdirSync(`${dir}/${made.id}`);
        dirs.push(`${dir}/${made.id}`);
      }
      config.process.args = ["/bin/cat", "/proc/self/cgroup"];
    });
    after(() => removeEmpty(b.id));
    for (const seen of all(paths(mustSucceed(run(b, options)).stdout))) expect(seen).toBe(`/${b.id}`);
    expect(dirs.length).toBeGreaterThan(0);
  });

  test(`${title}: none is left when create fails`, () => {
    const b = bundle((config) => (config.process.args = ["/no/such/program"]));
    expect(run(b, options).status).toBe(1);
    expect(cgroupsOf(b.id)).toEqual([]);
  });
}

/** Parents of a container's cgroup are not the runtime's to remove. */
function removeEmpty(id: string): void {
  for (const path of cgroupsOf(id)) if (existsSync(path)) rmdirSync(path);
}
