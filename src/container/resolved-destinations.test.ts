import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readResolvedDestinations } from "./resolved-destinations.ts";

const root = mkdtempSync(join(tmpdir(), "tsrun-destinations-"));
afterAll(() => rmSync(root, { recursive: true }));

test("only destinations that pass a symlink are resolved, never out of the root", () => {
  mkdirSync(join(root, "etc"));
  symlinkSync("../run/systemd/x", join(root, "etc/resolv.conf"));
  symlinkSync("../../../../outside", join(root, "out"));
  symlinkSync("loop", join(root, "loop"));
  const destinations = ["/etc/resolv.conf", "/etc/hosts", "/missing/a", "/out/y", "/loop/z", "/dev/shm"];
  const mounts = destinations.map((destination) => ({ destination }));
  expect([...readResolvedDestinations({ ociVersion: "1.3.0", mounts }, root)]).toEqual([
    ["/etc/resolv.conf", "/run/systemd/x"],
    ["/out/y", "/outside/y"],
  ]);
});

test("a root that is not there is somebody else's error", () => {
  expect(readResolvedDestinations({ ociVersion: "1.3.0" }, join(root, "none")).size).toBe(0);
});
