import { AT_FDCWD } from "../abi/fcntl.ts";
import { sys } from "../kernel/kernel.ts";
import { variable } from "../kernel/warm-start.ts";
import type { MapTools } from "./facts.ts";

/** As the caller's shell would find them, then where distributions have them: an engine's PATH may be anything. */
export function findMapTools(path = variable("PATH") ?? ""): MapTools {
  const directories = [...path.split(":").filter((each) => each.startsWith("/")), "/usr/bin", "/bin", "/usr/local/bin"];
  return { newuidmap: find("newuidmap", directories), newgidmap: find("newgidmap", directories) };
}

/** Where there is none, the path that it should have: to execute that says what is missing. */
function find(name: string, directories: readonly string[]): string {
  const X_OK = 1;
  const path = directories
    .map((each) => `${each}/${name}`)
    .find((each) => sys("faccessat2", AT_FDCWD, each, X_OK, 0) === 0);
  return path ?? `/usr/bin/${name}`;
}
