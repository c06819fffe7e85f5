import {
  BPF_ALU_AND_K,
  BPF_JMP_JA,
  BPF_JMP_JEQ_K,
  BPF_JMP_JGE_K,
  BPF_JMP_JGT_K,
  BPF_JMP_JSET_K,
  BPF_LD_W_ABS,
  BPF_RET_K,
  SOCK_FILTER_SIZE,
} from "../abi/filter.ts";
import { SECCOMP_DATA_ARCH, SECCOMP_DATA_ARGS, SECCOMP_DATA_NR } from "../abi/seccomp.ts";

/** struct seccomp_data, but for the instruction pointer. */
export interface Call {
  readonly number: number;
  /** AUDIT_ARCH_… */
  readonly token: number;
  /** Up to six; 0 where absent. */
  readonly args: readonly bigint[];
}

export interface Verdict {
  /** SECCOMP_RET_… with its data. */
  readonly returns: number;
  /** Indexes of the instructions that ran. */
  readonly path: readonly number[];
}

/**
 * What a filter says of a call, as the kernel would run it. The program is little-endian; `isBigEndian`: the machine that
 * the call is of, whose arguments have their upper halves first. Throws on what the kernel refuses.
 */
export function interpret(program: Uint8Array, call: Call, isBigEndian = false): Verdict {
  const data = dataOf(call, isBigEndian);
  const view = new DataView(program.buffer, program.byteOffset, program.length);
  const path: number[] = [];
  for (let at = 0, accumulator = 0; ; at++) {
    if (at * SOCK_FILTER_SIZE >= program.length) throw new Error(`the program ends at ${at} without a return`);
    path.push(at);
    const code = view.getUint16(at * SOCK_FILTER_SIZE, true);
    const k = view.getUint32(at * SOCK_FILTER_SIZE + 4, true);
    const jump = (holds: boolean) => view.getUint8(at * SOCK_FILTER_SIZE + (holds ? 2 : 3));
    if (code === BPF_RET_K) return { returns: k, path };
    if (code === BPF_LD_W_ABS) accumulator = data.getUint32(k, !isBigEndian);
    else if (code === BPF_ALU_AND_K) accumulator = (accumulator & k) >>> 0;
    else if (code === BPF_JMP_JA) at += k;
    else if (code === BPF_JMP_JEQ_K) at += jump(accumulator === k);
    else if (code === BPF_JMP_JGT_K) at += jump(accumulator > k);
    else if (code === BPF_JMP_JGE_K) at += jump(accumulator >= k);
    else if (code === BPF_JMP_JSET_K) at += jump((accumulator & k) !== 0);
    else throw new Error(`instruction ${at} has an unknown code, 0x${code.toString(16)}`);
  }
}

function dataOf({ number, token, args }: Call, isBigEndian: boolean): DataView {
  const data = new DataView(new ArrayBuffer(SECCOMP_DATA_ARGS + 6 * 8));
  data.setUint32(SECCOMP_DATA_NR, number, !isBigEndian);
  data.setUint32(SECCOMP_DATA_ARCH, token, !isBigEndian);
  for (const [i, arg] of args.entries()) data.setBigUint64(SECCOMP_DATA_ARGS + 8 * i, arg, !isBigEndian);
  return data;
}
