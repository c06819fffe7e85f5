import fc from "fast-check";
import { largeProfiles, mustBeAsLibseccomp, mustFollowRules } from "../../src/seccomp/fuzz-under-test.ts";
import { noLibseccomp } from "../../src/seccomp/libseccomp-under-test.ts";
import { property, type Target } from "./property.ts";

/** Profiles, compiled and interpreted: every call of every rule, with arguments at the edges of what they are compared with. */
export function seccompProfiles(): Target {
  const common = { values: largeProfiles, show: fc.stringify, runs: 400 };
  return {
    properties: [
      property({
        ...common,
        name: "seccomp/rules",
        says: "a program decides what the profile's first rule that applies says",
        check: mustFollowRules,
        seconds: 3,
      }),
      property({
        ...common,
        name: "seccomp/libseccomp",
        says: "a program decides what libseccomp's does",
        check: mustBeAsLibseccomp,
        seconds: 4,
        skip: noLibseccomp,
      }),
    ],
  };
}
