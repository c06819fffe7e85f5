import { expect, test } from "bun:test";
import { type Grant, parseGrants } from "../host/subordinate-ids.ts";
import type { IdAccess } from "./explain-maps.ts";
import { callerIds } from "./try-ids.ts";

function access(grants: string, changes: Partial<IdAccess> = {}): IdAccess {
  const setuid = { exists: true, isPrivileged: true, isOnNosuid: false, noNewPrivileges: false };
  const lines: Grant[] = parseGrants(grants);
  const account = { name: "someone", gid: 100 };
  return {
    tool: "/usr/bin/newuidmap",
    setuid,
    nested: false,
    uid: 1000,
    own: 1000,
    account,
    grants: lines,
    ...changes,
  };
}

const groups = (grants: string) => access(grants, { own: 100 });

test("the caller is root inside, its subordinate ids follow", () => {
  const found = callerIds(access("someone:5000:10\nother:1:1\nsomeone:9000:20"), groups("1000:5000:7"));
  expect(found).toEqual({
    uidMappings: [
      { containerID: 0, hostID: 1000, size: 1 },
      { containerID: 1, hostID: 5000, size: 10 },
      { containerID: 11, hostID: 9000, size: 20 },
    ],
    gidMappings: [
      { containerID: 0, hostID: 100, size: 1 },
      { containerID: 1, hostID: 5000, size: 7 },
    ],
    missing: undefined,
  });
});

test("what is given twice, or is the caller's own, is mapped once", () => {
  const { uidMappings } = callerIds(access("someone:900:200\nsomeone:5000:10\nsomeone:5005:10"), groups("someone:1:1"));
  expect(uidMappings.map(({ hostID }) => hostID)).toEqual([1000, 5000]);
});

test("without one of the two kinds the caller is alone, and what is missing is said", () => {
  const found = callerIds(access("someone:5000:10"), groups("other:100000:65536"));
  expect([found.uidMappings.length, found.gidMappings.length]).toEqual([1, 1]);
  expect(found.missing).toEqual({
    why: 'user "someone" has no subordinate group ids in /etc/subgid',
    hint: "as root: usermod --add-subgids 165536-231071 someone",
  });
});

test("without newuidmap the caller is alone", () => {
  const setuid = { exists: false, isPrivileged: false, isOnNosuid: false, noNewPrivileges: false };
  const found = callerIds(access("someone:5000:10", { setuid }), groups("someone:5000:10"));
  expect(found.uidMappings).toHaveLength(1);
  expect(found.missing!.why).toBe("there is no newuidmap");
});
