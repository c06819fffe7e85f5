/** Linux uapi/linux/bpf.h: what bpf(2) needs for programs that decide about devices. */
export const BPF_PROG_LOAD = 5;
export const BPF_PROG_ATTACH = 8;
export const BPF_PROG_DETACH = 9;
export const BPF_PROG_GET_FD_BY_ID = 13;
export const BPF_PROG_QUERY = 16;

export const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
/** Attach type: called for every open(2) and mknod(2) of a device by a process of the cgroup or of one below it. */
export const BPF_CGROUP_DEVICE = 6;
/** Besides the programs of the cgroups above and below; all of them have to allow. */
export const BPF_F_ALLOW_MULTI = 2;
export const BPF_F_REPLACE = 4;

/** struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor; u32 each. */
export const BPF_DEVCG_ACC_MKNOD = 1;
export const BPF_DEVCG_ACC_READ = 2;
export const BPF_DEVCG_ACC_WRITE = 4;
export const BPF_DEVCG_DEV_BLOCK = 1;
export const BPF_DEVCG_DEV_CHAR = 2;

/** Operation codes: class, operation, source of the operand. */
export const BPF_LDX_MEM_W = 0x61;
export const BPF_MOV32_K = 0xb4;
export const BPF_MOV32_X = 0xbc;
export const BPF_AND32_K = 0x54;
export const BPF_OR32_X = 0x4c;
export const BPF_LSH32_K = 0x64;
export const BPF_RSH32_K = 0x74;
export const BPF_JEQ32_K = 0x16;
export const BPF_JNE32_K = 0x56;
export const BPF_JSET32_K = 0x46;
export const BPF_JA = 0x05;
export const BPF_EXIT = 0x95;
