import { errnoName, errnoText } from "../abi/errno.ts";
import { BPF_MAXINSNS } from "../abi/filter.ts";
import { parseFast } from "../cli/fast-path.ts";
import type { Command, CommandInput, OptionValues } from "../cli/options.ts";
import { print } from "../cli/output.ts";
import { NATIVE } from "../container/seccomp.ts";
import { propertyOf, TsrunError } from "../errors.ts";
import { readText } from "../kernel/files.ts";
import { compileDecisions, decisionsFor } from "../seccomp/compile.ts";
import type { Decisions } from "../seccomp/decisions.ts";
import { disassemble, returnName } from "../seccomp/disassemble.ts";
import { lengthOf } from "../seccomp/emit.ts";
import { decidingRule } from "../seccomp/evaluate.ts";
import { interpret } from "../seccomp/interpret.ts";
import { unknownNames } from "../seccomp/unknown-names.ts";
import { parseConfig } from "../spec/load.ts";
import type { Seccomp } from "../spec/types.ts";

/** Shows what linux.seccomp of a config.json compiles to, or what it says of one system call. */
export const seccompCommand: Command<"seccomp"> = ({ warn, ...given }) => {
  const { args, options } = withLateOptions(given);
  const [action, path = "config.json"] = args;
  if (action !== "show" || args.length > 2) {
    throw new TsrunError(`cannot ${JSON.stringify(args.join(" "))} a seccomp profile: should be show [CONFIG]`, {
      code: "EINVAL",
    });
  }
  const profile = readProfile(path, warn);
  const all = decisionsFor(profile, NATIVE);
  const program = compileDecisions(all);
  print(options.syscall === undefined ? listing(profile, all, program) : answer(all, program, options));
  return 0;
};

type Given = Pick<CommandInput<"seccomp">, "args" | "options">;

/** Here options may stand behind the arguments too, where a question to a profile is asked. */
function withLateOptions({ args, options }: Given): Given {
  const first = args.findIndex((arg) => arg.startsWith("-"));
  if (first < 0) return { args, options };
  const late = args.slice(first);
  const found = parseFast(["seccomp", ...late, "--", ...args.slice(0, first)]);
  if (found?.command === "seccomp") {
    const arg = [...options.arg, ...found.options.arg];
    return { args: found.args, options: { ...options, ...found.options, arg } };
  }
  throw new TsrunError(`cannot understand ${JSON.stringify(late.join(" "))}`, {
    code: "EUSAGE",
    hint: "see tsrun seccomp --help",
  });
}

/** Of a config.json, or of the bundle that it is in. */
function readProfile(path: string, warn: (message: string) => void): Seccomp {
  const EISDIR = 21;
  const direct = readText(path);
  const [file, text] = direct === -EISDIR ? [`${path}/config.json`, readText(`${path}/config.json`)] : [path, direct];
  if (typeof text === "number") {
    throw new TsrunError(`cannot read ${JSON.stringify(file)}: ${errnoText(-text)}`, { code: errnoName(-text) });
  }
  const { config, warnings } = parseConfig(text, file);
  for (const warning of warnings) warn(warning);
  const profile = config.linux?.seccomp;
  if (profile !== undefined) return profile;
  throw new TsrunError(`${JSON.stringify(file)} has no seccomp profile (linux.seccomp)`, {
    code: "ENOENT",
    pointer: "/linux/seccomp",
  });
}

function listing(profile: Seccomp, all: readonly Decisions[], program: Uint8Array): string {
  const tables = all.map(({ architecture: { name, token } }) => `${name} 0x${token.toString(16)}`);
  const unknown = unknownNames(profile);
  return [
    `# ${lengthOf(program)} instructions of ${BPF_MAXINSNS}; jumps: to where when it holds, to where when not`,
    `# architectures: ${tables.join(", ")}`,
    ...(unknown.length === 0 ? [] : [`# no system calls, passed over: ${unknown.join(", ")}`]),
    ...disassemble(program),
    "",
  ].join("\n");
}

type Question = Pick<OptionValues<"seccomp">, "syscall" | "arg" | "arch">;

/** The action as the program itself has it, and the rule that it comes from. */
function answer(all: readonly Decisions[], program: Uint8Array, { syscall = "", arg, arch }: Question): string {
  const decisions = arch === undefined ? all[0]! : all.find(({ architecture: { name } }) => name === fullName(arch));
  if (decisions === undefined) {
    const names = all.map(({ architecture: { name } }) => name).join(", ");
    throw new TsrunError(`cannot answer for ${JSON.stringify(arch)}: the profile has ${names} (--arch)`, {
      code: "EINVAL",
      hint: "calls of other architectures kill the thread",
    });
  }
  const { architecture } = decisions;
  const number = callNumber(syscall, decisions);
  const args = argumentValues(arg);
  const { returns } = interpret(program, { number, token: architecture.token, args }, architecture.isBigEndian);
  const rule = decidingRule(decisions, number, args);
  const why =
    rule === undefined ? "newer than all that the profile names" : propertyOf(`/linux/seccomp${rule.pointer}`);
  return `${returnName(returns)} (${why})\n`;
}

function fullName(arch: string): string {
  return arch.startsWith("SCMP_ARCH_") ? arch : `SCMP_ARCH_${arch.toUpperCase()}`;
}

function callNumber(syscall: string, { architecture: { name, numbers } }: Decisions): number {
  const known = numbers.get(syscall);
  if (known !== undefined) return known;
  if (/^\d{1,9}$/.test(syscall)) return Number(syscall);
  throw new TsrunError(`${JSON.stringify(syscall)} is no system call of ${name} (--syscall)`, {
    code: "EINVAL",
    hint: "a number is taken as it is",
  });
}

/** `2=0x241` → [0, 0, 0x241]: unsigned, of 64 bits, decimal or hexadecimal. */
function argumentValues(given: readonly string[]): bigint[] {
  const values: bigint[] = Array(6).fill(0n);
  for (const text of given) {
    const match = /^([0-5])=(0x[0-9a-fA-F]{1,16}|\d{1,20})$/.exec(text);
    const value = match === null ? -1n : BigInt(match[2]!);
    if (match === null || value >= 2n ** 64n) {
      throw new TsrunError(`cannot use ${JSON.stringify(text)} as an argument: should be INDEX=VALUE (--arg)`, {
        code: "EINVAL",
        hint: "such as 2=0x241: INDEX is 0 to 5, VALUE has up to 64 bits",
      });
    }
    values[Number(match[1])] = value;
  }
  return values;
}
