import { expect, test } from "bun:test";
import { S_IFCHR, S_IFIFO, S_IFREG } from "../abi/stat.ts";
import { homeOf, planOpenPasswd } from "./passwd.ts";
import { type Data, program, slot, slotTable } from "./step.ts";
import { printProgram } from "./test-printer.ts";

const PASSWD = `root:x:0:0:root:/root:/bin/sh
broken:x:7
# a comment
nobody:x:65534:65534:nobody::/bin/false
first:x:1000:1000::/home/first:/bin/sh
second:x:1000:1000::/home/second:/bin/sh
old:x:8:8:old:/old
no newline:x:9:9:::`;

for (const [uid, home, why] of [
  [0, "/root", "root"],
  [1000, "/home/first", "the first of two"],
  [8, "/old", "a line without a shell"],
  [65534, "/", "an empty field"],
  [7, "/", "a line that ends early"],
  [9, "/", "the last line"],
  [5, "/", "nobody of that id"],
] as const) {
  test(`user ${uid}: ${home} (${why})`, () => expect(homeOf(uid, PASSWD)).toBe(home));
}

test("an empty file", () => expect(homeOf(0, "")).toBe("/"));

test("an id is compared as a whole", () => expect(homeOf(1, "a:x:10:10::/ten:\nb:x:1:1::/one:")).toBe("/one"));

test("opened inside the root; a fifo, a link out of it or a missing file are no errors", () => {
  const slots = slotTable();
  const opening = program("p");
  planOpenPasswd(opening, slots, slot(slots, "rootfs"), "x86-64");
  expect(printProgram(opening)).toEqual([
    '$/etc/passwd = openat2($rootfs, "etc/passwd", {0x80900, 0, 0x12}, 0x18) ? ' +
      "ENOENT ENOTDIR EACCES ELOOP EXDEV EPERM ENXIO EISDIR ENODEV EIO EBUSY",
    'newfstatat($/etc/passwd, "", &$stat of /etc/passwd, word 5, 0x1000) ? EBADF',
  ]);
});

test("only a file that is not empty is read: what procfs has is of size 0, and reading it may take it away from others", () => {
  const slots = slotTable();
  const opening = program("p");
  const { isFile } = planOpenPasswd(opening, slots, slot(slots, "rootfs"), "x86-64");
  const [buffer] = opening.steps.flatMap(({ args }) =>
    args.filter((arg) => typeof arg === "object" && arg.kind === "address"),
  );
  const [mode, size] = (buffer as Extract<Data, { kind: "address" }>).rest!;
  const read = (type: number, bytes: number): boolean => {
    mode!.value = type | 0o644;
    size!.value = bytes;
    return isFile();
  };
  expect(read(S_IFREG, 100)).toBe(true);
  expect([read(S_IFREG, 0), read(S_IFIFO, 100), read(S_IFCHR, 100)]).toEqual([false, false, false]);
});
