/** Linux uapi/linux/openat2.h: how openat2(2) resolves a path. */
export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;
/** sizeof(struct open_how), its first published version. */
export const OPEN_HOW_SIZE = 24;
