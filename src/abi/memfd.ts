/** Linux uapi/linux/memfd.h. */
export const MFD_CLOEXEC = 0x1;
export const MFD_ALLOW_SEALING = 0x2;
/** Both since Linux 6.3; before, EINVAL. */
export const MFD_NOEXEC_SEAL = 0x8;
export const MFD_EXEC = 0x10;
