import { expect, test } from "bun:test";
import { parseMountinfo } from "./parse-mountinfo.ts";

test("points, types and options; optional fields do not matter", () => {
  const text = [
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard",
    "36 27 0:30 /sub /mnt/a\\040b\\134c ro,nosuid shared:1 master:2 - fuse.sshfs host: rw",
    "broken line",
    "",
  ].join("\n");
  expect(parseMountinfo(text)).toEqual([
    { point: "/", type: "ext4", options: ["rw", "relatime"] },
    { point: "/mnt/a b\\c", type: "fuse.sshfs", options: ["ro", "nosuid"] },
  ]);
});
