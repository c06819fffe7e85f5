import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { completionScript } from "./completion.ts";
import { commandNames, commandOptions } from "./options.ts";

/** What bash offers for the last word of `words`, with a tsrun that lists two containers. */
function offered(...words: string[]): string[] {
  const directory = mkdtempSync(`${tmpdir()}/completion-`);
  try {
    writeFileSync(
      `${directory}/tsrun`,
      `#!/bin/sh\n[ "$*" = "list -q" ] && echo web db\n[ "$*" = "--root /r list -q" ] && echo other\n`,
      { mode: 0o755 },
    );
    writeFileSync(`${directory}/script`, completionScript("bash"));
    const program = `source ${directory}/script; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tsrun; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const env = { PATH: `${directory}:/usr/bin:/bin` };
    const { stdout, stderr } = Bun.spawnSync(["bash", "-c", program, "bash", "tsrun", ...words], { env });
    expect(stderr.toString()).toBe("");
    return stdout.toString().split("\n").filter(Boolean).sort();
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe("bash", () => {
  test("offers commands", () => {
    expect(offered("")).toEqual([...commandNames()].sort());
    expect(offered("--debug", "--log", "create", "st")).toEqual(["start", "state"]);
  });

  test("offers options of the command, and their values", () => {
    expect(offered("run", "--no-")).toEqual(["--no-new-keyring", "--no-pivot", "--no-subreaper"]);
    expect(offered("list", "-f", "")).toEqual(["json", "table"]);
    expect(offered("--log-format", "j")).toEqual(["json"]);
  });

  test("offers ids from the right root, signals, shells", () => {
    expect(offered("exec", "-t", "")).toEqual(["db", "web"]);
    expect(offered("--root", "/r", "state", "")).toEqual(["other"]);
    expect(offered("exec", "--user", "0", "w")).toEqual(["web"]);
    expect(offered("kill", "web", "T")).toEqual(["TERM"]);
    expect(offered("completion", "")).toEqual(["bash", "fish", "zsh"]);
  });

  test("offers nothing of its own for what belongs to the process", () => {
    expect(offered("exec", "web", "ls", "--")).toEqual([]);
  });
});

test.each(["zsh", "fish"] as const)("the %s script knows every option", (shell) => {
  const script = completionScript(shell);
  for (const name of commandNames()) {
    for (const option of Object.keys(commandOptions(name)))
      expect(script).toContain(shell === "zsh" ? `--${option}` : `-l ${option}`);
  }
});
