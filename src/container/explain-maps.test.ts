import { expect, test } from "bun:test";
import { parseAccount, parseGrants } from "../host/subordinate-ids.ts";
import { GROUP_IDS, USER_IDS } from "../plan/id-maps.ts";
import type { IdMapping } from "../spec/types.ts";
import { freeRange, grantRemedies, type IdAccess, missingIds, toolRemedies } from "./explain-maps.ts";

const map = (containerID: number, hostID: number, size: number): IdMapping => ({ containerID, hostID, size });
const WORKS = { exists: true, isPrivileged: true, isOnNosuid: false, noNewPrivileges: false };

function access(grants: string, changes: Partial<IdAccess> = {}): IdAccess {
  return {
    tool: "/usr/bin/newuidmap",
    setuid: WORKS,
    nested: false,
    uid: 1000,
    own: 1000,
    account: { name: "someone", gid: 1000 },
    grants: parseGrants(grants),
    ...changes,
  };
}

const USUAL = [map(0, 1000, 1), map(1, 100_000, 65536)];

test("lines of /etc/subuid; what is no line is passed over", () => {
  expect(parseGrants("a:100000:65536\n# a:1:1\n\nb:1\n1000:5:10\nc:x:1\n")).toEqual([
    { owner: "a", first: 100_000, count: 65536 },
    { owner: "1000", first: 5, count: 10 },
  ]);
});

test("a user of /etc/passwd", () => {
  const passwd = "root:x:0:0:root:/root:/bin/sh\nsomeone:x:1000:100::/home:/bin/sh\n";
  expect(parseAccount(passwd, 1000)).toEqual({ name: "someone", gid: 100 });
  expect(parseAccount(passwd, 100)).toBeUndefined();
});

test("ids that are given by name, by number, or in parts are not missing", () => {
  for (const grants of ["someone:100000:65536", "1000:100000:65536", "someone:100000:30000\nsomeone:130000:40000"]) {
    expect(grantRemedies(USER_IDS, USUAL, access(grants))).toEqual([]);
  }
});

test("no subordinate ids: the command gives those of the config", () => {
  for (const grants of ["", "other:300000:65536", "someone:100000:0"]) {
    expect(grantRemedies(USER_IDS, USUAL, access(grants))).toEqual([
      {
        why: 'user "someone" has no subordinate user ids in /etc/subuid',
        hint: "as root: usermod --add-subuids 100000-165535 someone",
      },
    ]);
  }
});

test("some are missing: which, and the command for them", () => {
  const [remedy] = grantRemedies(GROUP_IDS, USUAL, access("someone:100000:1000\nsomeone:165000:1000"));
  expect(remedy).toEqual({
    why: 'group id 101000-164999 is not among the subordinate ids of "someone" in /etc/subgid: 100000-100999, 165000-165999',
    hint: "as root: usermod --add-subgids 101000-164999 someone",
  });
});

test("ids of somebody else, and of the system, are never given away", () => {
  const theirs = grantRemedies(USER_IDS, USUAL, access("other:100000:65536"));
  expect(theirs[0]!.why).toContain('has no subordinate user ids in /etc/subuid, but of "other"');
  expect(theirs[0]!.hint).toBe(
    "as root: usermod --add-subuids 165536-231071 someone; then map those in linux.uidMappings",
  );
  const system = grantRemedies(USER_IDS, [map(0, 0, 1)], access("someone:100000:65536"));
  expect(system[0]!.hint).toBe("map ids that are the caller's in linux.uidMappings: 100000-165535");
});

test("a user that /etc/passwd does not know is named by number", () => {
  const [remedy] = grantRemedies(USER_IDS, USUAL, access("", { account: undefined }));
  expect(remedy!.hint).toEndWith("usermod --add-subuids 100000-165535 1000");
});

test("the caller's own id is only its own alone on a line", () => {
  expect(missingIds([map(0, 1000, 1)], 1000, [])).toEqual([]);
  expect(missingIds([map(0, 1000, 2)], 1000, [])).toEqual([{ first: 1000, count: 2 }]);
});

test("a range that nobody has is behind all others", () => {
  expect(freeRange([])).toEqual({ first: 100_000, count: 65536 });
  expect(freeRange(parseGrants("a:500000:10\nb:100000:65536"))).toEqual({ first: 500_010, count: 65536 });
});

test.each([
  [{ setuid: { ...WORKS, exists: false } }, "there is no newuidmap", "apt-get install uidmap"],
  [{ setuid: { ...WORKS, isPrivileged: false } }, "is not set-uid root", "chmod u+s /usr/bin/newuidmap"],
  [{ setuid: { ...WORKS, isOnNosuid: true } }, "mounted nosuid", "mount -o remount,suid"],
  [{ setuid: { ...WORKS, noNewPrivileges: true } }, "no_new_privs", "NoNewPrivileges=yes"],
  [{ nested: true }, "in this user namespace", "outside of it"],
] as const)("newuidmap cannot work: %j", (changes, why, hint) => {
  const [remedy, ...others] = toolRemedies(USER_IDS, access("", changes));
  expect(remedy!.why).toContain(why);
  expect(remedy!.hint).toContain(hint);
  expect(others).toEqual([]);
});

test("newgidmap wants the user's own group", () => {
  const [remedy] = toolRemedies(GROUP_IDS, access("", { own: 50 }));
  expect(remedy!.why).toContain(
    'the caller\'s group is 50, and newgidmap wants that of "someone" in /etc/passwd, 1000',
  );
  expect(toolRemedies(USER_IDS, access("", { own: 50 }))).toEqual([]);
});
