/** Linux uapi/linux/prctl.h, securebits.h; keyctl.h; personality.h; ioprio.h. */
export const PR_SET_DUMPABLE = 4;
export const PR_SET_KEEPCAPS = 8;
export const PR_SET_NAME = 15;
export const PR_CAPBSET_DROP = 24;
export const PR_SET_NO_NEW_PRIVS = 38;
export const PR_CAP_AMBIENT = 47;
export const PR_CAP_AMBIENT_RAISE = 2;
export const PR_CAP_AMBIENT_CLEAR_ALL = 4;

export const KEYCTL_JOIN_SESSION_KEYRING = 1;
export const KEYCTL_SETPERM = 5;
export const KEY_POS_ALL = 0x3f000000;
export const KEY_USR_VIEW = 0x00010000;
export const KEY_USR_READ = 0x00020000;
export const KEY_USR_SEARCH = 0x00080000;
export const KEY_USR_LINK = 0x00100000;

export const PER_LINUX = 0;
export const PER_LINUX32 = 8;

export const IOPRIO_WHO_PROCESS = 1;
export const IOPRIO_CLASS_SHIFT = 13;

export const CLOSE_RANGE_CLOEXEC = 4;
export const UINT_MAX = 0xffffffff;
