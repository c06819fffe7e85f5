/** Linux linux/socket.h, linux/net.h, linux/un.h. */
export const AF_UNIX = 1;
export const AF_INET = 2;
/** linux/in.h */
export const IPPROTO_UDP = 17;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_SEQPACKET = 5;
export const SOL_SOCKET = 1;
export const SCM_RIGHTS = 1;
export const MSG_NOSIGNAL = 0x4000;
