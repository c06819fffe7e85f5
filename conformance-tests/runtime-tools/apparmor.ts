import { existsSync } from "node:fs";
import { command, describeResult } from "../../tests/helpers/command.ts";

/** One program names this profile and expects the machine to have it. What it allows is of no matter. */
const PROFILE = `profile acme_secure_profile flags=(attach_disconnected) {
  file, capability, network, signal, ptrace, unix, mount, umount,
}
`;

/** Loads the profile, where there is AppArmor. */
export function loadProfile(): void {
  parse("--replace");
}

export function removeProfile(): void {
  parse("--remove");
}

function parse(flag: string): void {
  if (!existsSync("/sys/kernel/security/apparmor")) return;
  const result = command(["apparmor_parser", flag, "--skip-cache"], { stdin: PROFILE, limit: 60_000 });
  if (result.status !== 0) throw new Error(describeResult(result));
}
