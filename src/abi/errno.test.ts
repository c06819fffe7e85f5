import { expect, test } from "bun:test";
import { constants } from "node:os";
import { type ErrnoName, errnoName, errnoNumber, errnoText } from "./errno.ts";

/** As Go's syscall package has them: engines look for these texts. */
for (const [name, text] of [
  ["EPERM", "operation not permitted"],
  ["ENOENT", "no such file or directory"],
  ["ESRCH", "no such process"],
  ["EINTR", "interrupted system call"],
  ["EIO", "input/output error"],
  ["E2BIG", "argument list too long"],
  ["ENOEXEC", "exec format error"],
  ["EBADF", "bad file descriptor"],
  ["EAGAIN", "resource temporarily unavailable"],
  ["ENOMEM", "cannot allocate memory"],
  ["EACCES", "permission denied"],
  ["EBUSY", "device or resource busy"],
  ["EEXIST", "file exists"],
  ["EXDEV", "invalid cross-device link"],
  ["ENOTDIR", "not a directory"],
  ["EISDIR", "is a directory"],
  ["EINVAL", "invalid argument"],
  ["EMFILE", "too many open files"],
  ["ETXTBSY", "text file busy"],
  ["ENOSPC", "no space left on device"],
  ["EROFS", "read-only file system"],
  ["ENAMETOOLONG", "file name too long"],
  ["ENOSYS", "function not implemented"],
  ["ENOTEMPTY", "directory not empty"],
  ["ELOOP", "too many levels of symbolic links"],
  ["EOPNOTSUPP", "operation not supported"],
  ["ECONNREFUSED", "connection refused"],
  ["EDQUOT", "disk quota exceeded"],
  ["ELIBBAD", "accessing a corrupted shared library"],
  ["EDOTDOT", "RFS specific error"],
] as const satisfies readonly (readonly [ErrnoName, string])[]) {
  test(`${name}: ${text}`, () => {
    expect(errnoText(errnoNumber(name))).toBe(text);
    expect(errnoName(errnoNumber(name))).toBe(name);
  });
}

test("numbers are this machine's", () => {
  for (const [name, number] of Object.entries(constants.errno)) {
    if (name === "EWOULDBLOCK" || name === "ENOTSUP") continue;
    expect([name, errnoNumber(name as ErrnoName)]).toEqual([name, number]);
  }
});

test("numbers that have no name", () => {
  expect(errnoName(4095)).toContain("4095");
  expect(errnoText(4095)).toContain("4095");
});
