import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { staticProgram } from "../scripts/program/static-program.ts";
import { changedResources, fullResources } from "./resources.ts";
import { run } from "./runtimes.ts";

export interface Bundle {
  readonly dir: string;
  /** Changes config.json, for what is measured next. */
  configure(args: readonly string[], cgroupsPath?: string): void;
  /** Where there is a copy of config.json with `fullResources`, and update.json with what an update changes. */
  readonly limitedDir: string;
}

interface Config {
  ociVersion: string;
  process: { terminal: boolean; args: string[] };
  root: { path: string };
  linux: { resources?: object; cgroupsPath?: string };
}

/**
 * A bundle that all runtimes take, from `runc spec`: ociVersion 1.0.2, because crun 1.8.1 knows no later one, and without
 * resources, because their devices rules are work that not every runtime does on every machine.
 */
export function makeBundle(dir: string): Bundle {
  mkdirSync(dir, { mode: 0o755 });
  run(["runc", "spec", "--bundle", dir]);
  const config = JSON.parse(readFileSync(`${dir}/config.json`, "utf8")) as Config;
  config.ociVersion = "1.0.2";
  config.process.terminal = false;
  delete config.linux.resources;
  for (const folder of ["bin", "dev", "proc", "sys"]) mkdirSync(`${dir}/rootfs/${folder}`, { recursive: true });
  for (const name of ["true", "pause"] as const) {
    writeFileSync(`${dir}/rootfs/bin/${name}`, staticProgram(name), { mode: 0o755 });
  }
  function configure(args: readonly string[], cgroupsPath?: string): void {
    config.process.args = [...args];
    delete config.linux.cgroupsPath;
    if (cgroupsPath !== undefined) config.linux.cgroupsPath = cgroupsPath;
    writeFileSync(`${dir}/config.json`, JSON.stringify(config, null, 2));
  }
  configure(["/bin/true"]);
  const limitedDir = `${dir}-limited`;
  mkdirSync(limitedDir);
  const linux = { ...config.linux, resources: fullResources() };
  const limited = { ...config, root: { ...config.root, path: `${dir}/rootfs` }, linux };
  writeFileSync(`${limitedDir}/config.json`, JSON.stringify(limited, null, 2));
  writeFileSync(`${limitedDir}/update.json`, JSON.stringify(changedResources()));
  return { dir, limitedDir, configure };
}
