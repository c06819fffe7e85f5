import { expect, test } from "bun:test";
import { requiredControllers } from "./required.ts";

const resources = { memory: { limit: 1 << 20 }, pids: { limit: 5 }, blockIO: { weight: 100 } };

test("on v1 nothing has to be handed down", () => {
  expect(requiredControllers(resources, { memory: "/c/memory/x", pids: "/c/pids/x", blkio: "/c/blkio/x" })).toEqual([]);
});

test("on v2 each controller once, with the first property that asks for it", () => {
  expect(requiredControllers(resources, { "": "/c/x" })).toEqual([
    { controller: "memory", pointer: "/linux/resources/memory/limit" },
    { controller: "io", pointer: "/linux/resources/blockIO/weight" },
    { controller: "pids", pointer: "/linux/resources/pids/limit" },
  ]);
});

test("on a mixed machine those that no v1 hierarchy has", () => {
  const paths = { "": "/c/unified/x", memory: "/c/memory/x", blkio: "/c/blkio/x" };
  expect(requiredControllers(resources, paths).map(({ controller }) => controller)).toEqual(["pids"]);
});

test("files that every cgroup has need no controller", () => {
  expect(requiredControllers({ unified: { "cgroup.max.depth": "2" } }, { "": "/c/x" })).toEqual([]);
});
