import { expect, test } from "bun:test";
import fc from "fast-check";
import { fuzzSeccomp, libseccompProperty, rulesProperty, smallProfiles } from "./fuzz-under-test.ts";
import { noLibseccomp } from "./libseccomp-under-test.ts";

const skipped = noLibseccomp !== undefined;
if (skipped) console.log(`skipped, the comparison with libseccomp: ${noLibseccomp}`);

test.skipIf(skipped)("one rule for a call: the same as libseccomp's", () => {
  fc.assert(libseccompProperty(smallProfiles), { numRuns: 100 });
});

test("any profile: the first rule that applies", () => {
  fc.assert(rulesProperty(smallProfiles), { numRuns: 100 });
});

test("large profiles of all architectures, for a moment", () => {
  const { profiles, problem } = fuzzSeccomp(1 + Math.floor(Math.random() * 2 ** 30), Date.now() + 1000);
  expect(problem).toBeUndefined();
  expect(profiles).toBeGreaterThan(0);
});
