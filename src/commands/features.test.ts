import { expect, test } from "bun:test";
import { parseMountOptions } from "../plan/mount-options.ts";
import { features } from "../spec/model/features.ts";
import { features as reported } from "./features.ts";

test("features are as the specification has them", () => {
  expect(features.parse(reported())).toEqual(reported());
});

test("what engines look for", () => {
  const { mountOptions, linux, ociVersionMin, ociVersionMax } = reported();
  expect(mountOptions).toContain("rro");
  expect(linux?.mountExtensions?.idmap?.enabled).toBe(true);
  expect([ociVersionMin, ociVersionMax]).toEqual(["1.0.0", "1.3.0"]);
  expect(linux?.namespaces).toHaveLength(8);
});

test("no mount option is promised that would be handed to the file system", () => {
  const unknown = reported().mountOptions?.filter((option) => parseMountOptions([option]).data.length > 0);
  expect(unknown).toEqual([]);
});
