import { errnoName } from "../abi/errno.ts";
import * as bpf from "../abi/filter.ts";
import * as seccomp from "../abi/seccomp.ts";

/**
 * A filter as text, an instruction a line, with the targets of jumps as line numbers and what is known of the operands as
 * comments. Unknown instructions are shown in hexadecimal.
 */
export function disassemble(program: Uint8Array): string[] {
  const view = new DataView(program.buffer, program.byteOffset, program.length);
  const lines: string[] = [];
  let loaded = "";
  for (let at = 0; at * bpf.SOCK_FILTER_SIZE < program.length; at++) {
    const start = at * bpf.SOCK_FILTER_SIZE;
    const code = view.getUint16(start, true);
    const k = view.getUint32(start + 4, true);
    const [yes, no] = [at + 1 + view.getUint8(start + 2), at + 1 + view.getUint8(start + 3)];
    if (code === bpf.BPF_LD_W_ABS) loaded = fieldName(k);
    lines.push(`${String(at).padStart(4)}  ${instruction(code, k, yes, no, at, loaded)}`);
  }
  return lines;
}

function instruction(code: number, k: number, yes: number, no: number, at: number, loaded: string): string {
  const hex = `0x${k.toString(16)}`;
  const test = (name: string) => `${name}  ${hex}, ${yes}, ${no}`;
  switch (code) {
    case bpf.BPF_LD_W_ABS:
      return `ld   [${k}]  # ${loaded}`;
    case bpf.BPF_ALU_AND_K:
      return `and  ${hex}`;
    case bpf.BPF_JMP_JA:
      return `ja   ${at + 1 + k}`;
    case bpf.BPF_JMP_JEQ_K:
      return test("jeq");
    case bpf.BPF_JMP_JGT_K:
      return test("jgt");
    case bpf.BPF_JMP_JGE_K:
      return test("jge");
    case bpf.BPF_JMP_JSET_K:
      return test("jset");
    case bpf.BPF_RET_K:
      return `ret  ${hex}  # ${returnName(k)}`;
    default:
      return `0x${code.toString(16)}  ${hex}, ${yes}, ${no}`;
  }
}

/** struct seccomp_data; which half of an argument it is depends on the architecture's byte order. */
function fieldName(offset: number): string {
  if (offset === seccomp.SECCOMP_DATA_NR) return "nr";
  if (offset === seccomp.SECCOMP_DATA_ARCH) return "arch";
  const place = offset - seccomp.SECCOMP_DATA_ARGS;
  return `args[${place >> 3}]${place % 8 === 0 ? "" : " + 4"}`;
}

/** The action by the name that config.json has for it, with its data. */
export function returnName(value: number): string {
  const data = value & seccomp.SECCOMP_RET_DATA;
  switch ((value & seccomp.SECCOMP_RET_ACTION_FULL) >>> 0) {
    case seccomp.SECCOMP_RET_KILL_PROCESS:
      return "SCMP_ACT_KILL_PROCESS";
    case seccomp.SECCOMP_RET_KILL_THREAD:
      return "SCMP_ACT_KILL_THREAD";
    case seccomp.SECCOMP_RET_TRAP:
      return "SCMP_ACT_TRAP";
    case seccomp.SECCOMP_RET_ERRNO:
      return `SCMP_ACT_ERRNO ${data === 0 ? "0" : (errnoName(data) ?? data)}`;
    case seccomp.SECCOMP_RET_USER_NOTIF:
      return "SCMP_ACT_NOTIFY";
    case seccomp.SECCOMP_RET_TRACE:
      return `SCMP_ACT_TRACE ${data}`;
    case seccomp.SECCOMP_RET_LOG:
      return "SCMP_ACT_LOG";
    case seccomp.SECCOMP_RET_ALLOW:
      return "SCMP_ACT_ALLOW";
    default:
      return "an action that tsrun does not know";
  }
}
