/** bpf(2) as strace(1) shows it: the commands that device rules need. */
import * as bpf from "../abi/bpf.ts";
import { flags, quoted } from "./print-values.ts";
import type { Arg, Slot, Word } from "./step.ts";

type Field = readonly [name: string, text: string];

export function printBpf(command: number, attributes: Arg, size: Arg): string[] {
  const words = typeof attributes === "object" && attributes.kind === "words" ? attributes.words : [];
  const [name, fields] = commandFields(command, words);
  return [name, `{${fields.map(([field, text]) => `${field}=${text}`).join(", ")}}`, String(size)];
}

function commandFields(command: number, words: readonly Word[]): [string, Field[]] {
  switch (command) {
    case bpf.BPF_PROG_LOAD:
      return ["BPF_PROG_LOAD", loadFields(words)];
    case bpf.BPF_PROG_ATTACH:
      return ["BPF_PROG_ATTACH", attachFields(words)];
    case bpf.BPF_PROG_DETACH:
      return ["BPF_PROG_DETACH", attachFields(words).slice(0, 3)];
    default:
      return ["BPF_PROG_GET_FD_BY_ID", ["prog_id", "next_id", "open_flags"].map((name, at) => [name, half(words, at)])];
  }
}

/** Of 32 bits each; a pointer takes two. */
function half(words: readonly Word[], at: number): string {
  const word = words[at >> 1] ?? 0;
  if (typeof word === "string" || (typeof word === "object" && word.kind !== "pair")) return "{...}";
  if (typeof word === "object") return field(at % 2 === 0 ? word.low : word.high);
  return String((BigInt(word) >> (at % 2 === 0 ? 0n : 32n)) & 0xffffffffn);
}

function field(value: number | Slot): string {
  return typeof value === "number" ? String(value) : `<${value.name}>`;
}

function loadFields(words: readonly Word[]): Field[] {
  return [
    ["prog_type", "BPF_PROG_TYPE_CGROUP_DEVICE"],
    ["insn_cnt", half(words, 1)],
    ["insns", "{...}"],
    ["license", JSON.stringify(words[2])],
    ["log_level", half(words, 6)],
    ["log_size", half(words, 7)],
    ["log_buf", "NULL"],
    ["kern_version", "KERNEL_VERSION(0, 0, 0)"],
    ["prog_flags", half(words, 11)],
    ["prog_name", programName(words.slice(6, 8))],
    ["prog_ifindex", half(words, 16)],
    ["expected_attach_type", "BPF_CGROUP_DEVICE"],
  ];
}

function programName(words: readonly Word[]): string {
  const bytes = new Uint8Array(BigUint64Array.from(words.map((word) => BigInt(word as bigint))).buffer);
  return quoted(bytes.subarray(0, bytes.indexOf(0)));
}

function attachFields(words: readonly Word[]): Field[] {
  const bits = Number(half(words, 3));
  const names = [
    ["BPF_F_ALLOW_MULTI", bpf.BPF_F_ALLOW_MULTI],
    ["BPF_F_REPLACE", bpf.BPF_F_REPLACE],
  ] as const;
  return [
    ["target_fd", half(words, 0)],
    ["attach_bpf_fd", half(words, 1)],
    ["attach_type", "BPF_CGROUP_DEVICE"],
    ["attach_flags", flags(bits, names)],
    ...(words.length > 2 ? [["replace_bpf_fd", half(words, 4)] as const] : []),
  ];
}
