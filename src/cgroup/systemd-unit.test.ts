import { describe, expect, test } from "bun:test";
import { escapeUnitName, scopeCgroup, scopeName, sliceComponents } from "./systemd-unit.ts";

describe("scopeName", () => {
  test("slice:prefix:name is prefix-name.scope in the slice", () => {
    expect(scopeName("machine.slice:libpod:abc", "box", false)).toEqual({
      unit: "libpod-abc.scope",
      slice: "machine.slice",
    });
    expect(scopeName("kubepods-besteffort-pod1_2.slice:cri-containerd:4f", "box", false)).toEqual({
      unit: "cri-containerd-4f.scope",
      slice: "kubepods-besteffort-pod1_2.slice",
    });
  });

  test("an absent path is tsrun-ID in the default slice", () => {
    for (const absent of [undefined, ""]) {
      expect(scopeName(absent, "box", false)).toEqual({ unit: "tsrun-box.scope", slice: "system.slice" });
      expect(scopeName(absent, "box", true)).toEqual({ unit: "tsrun-box.scope", slice: "user.slice" });
    }
  });

  test("empty parts have defaults; an empty prefix is runc's empty prefix", () => {
    expect(scopeName(":docker:abc", "box", false)).toEqual({ unit: "docker-abc.scope", slice: "system.slice" });
    expect(scopeName("a.slice:pre:", "box", false)).toEqual({ unit: "pre-box.scope", slice: "a.slice" });
    expect(scopeName("a.slice::name", "box", false)).toEqual({ unit: "-name.scope", slice: "a.slice" });
    expect(scopeName("::", "box", true)).toEqual({ unit: "-box.scope", slice: "user.slice" });
  });

  test("the root slice", () => {
    expect(scopeName("-.slice:p:n", "box", false)).toEqual({ unit: "p-n.scope", slice: "-.slice" });
  });

  test("anything but three parts is refused with the text that engines know", () => {
    for (const path of ["/a/b", "a", "a.slice:b", "a.slice:b:c:d", "/system.slice/x.scope"]) {
      expect(() => scopeName(path, "box", false)).toThrow(
        `expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "${path}" instead`,
      );
    }
  });

  test("what is no slice is refused", () => {
    for (const slice of [
      "a",
      ".slice",
      "a.scope",
      "/a.slice",
      "a/b.slice",
      "a--b.slice",
      "-a.slice",
      "a-.slice",
      "../x.slice",
      "a b.slice",
      "--.slice",
    ]) {
      expect(() => scopeName(`${slice}:p:n`, "box", false)).toThrow(`invalid slice name: ${JSON.stringify(slice)}`);
    }
  });

  test("no path comes in by prefix or name", () => {
    expect(() => scopeName("a.slice:../x:n", "box", false)).toThrow("parts of a file name");
    expect(() => scopeName("a.slice:p:../../n", "box", false)).toThrow("parts of a file name");
    expect(() => scopeName("a.slice:p:n.slice", "box", false)).toThrow("names a slice");
  });

  test("an id may have what a unit may not", () => {
    expect(scopeName(undefined, "a+b", false).unit).toBe("tsrun-a\\x2bb.scope");
  });

  test("systemd's limit on names is named", () => {
    expect(scopeName(undefined, "x".repeat(243), false).unit).toHaveLength(255);
    expect(() => scopeName(undefined, "x".repeat(244), false)).toThrow("256 characters are more than 255");
  });
});

test("escapeUnitName escapes bytes", () => {
  expect(escapeUnitName("Az09:-_.\\@")).toBe("Az09:-_.\\@");
  expect(escapeUnitName("ä b")).toBe("\\xc3\\xa4\\x20b");
});

test("sliceComponents nests by dashes", () => {
  expect(sliceComponents("a.slice")).toEqual(["a.slice"]);
  expect(sliceComponents("a-b-c.slice")).toEqual(["a.slice", "a-b.slice", "a-b-c.slice"]);
  expect(sliceComponents("-.slice")).toEqual([]);
});

describe("scopeCgroup", () => {
  test("of the machine's systemd, of a container's, of a user's", () => {
    const name = { unit: "p-n.scope", slice: "a-b.slice" };
    expect(scopeCgroup(name, "")).toBe("/a.slice/a-b.slice/p-n.scope");
    expect(scopeCgroup(name, "/")).toBe("/a.slice/a-b.slice/p-n.scope");
    expect(scopeCgroup(name, "/user.slice/user-1.slice/user@1.service")).toBe(
      "/user.slice/user-1.slice/user@1.service/a.slice/a-b.slice/p-n.scope",
    );
    expect(scopeCgroup({ unit: "p-n.scope", slice: "-.slice" }, "")).toBe("/p-n.scope");
  });

  test("names that look like files of a cgroup get an underscore, as systemd has it", () => {
    expect(scopeCgroup({ unit: "_-n.scope", slice: "cpu.slice" }, "")).toBe("/_cpu.slice/__-n.scope");
    expect(scopeCgroup({ unit: "cpu-n.scope", slice: "cgroup.slice" }, "")).toBe("/_cgroup.slice/cpu-n.scope");
  });
});
