import { test } from "bun:test";
import fc from "fast-check";
import { largeProfiles, libseccompProperty, rulesProperty, smallProfiles } from "./fuzz-under-test.ts";
import { noLibseccomp } from "./libseccomp-under-test.ts";

const skipped = noLibseccomp !== undefined;
if (skipped) console.log(`skipped, the comparison with libseccomp: ${noLibseccomp}`);

/** Each profile of these is some thousand calls. */
const FOR_A_MOMENT = { numRuns: 1000, interruptAfterTimeLimit: 800, markInterruptAsFailure: false };

test.skipIf(skipped)("small profiles, one rule for a call: the same as libseccomp's", () => {
  fc.assert(libseccompProperty(smallProfiles), FOR_A_MOMENT);
});

test("small profiles: the first rule that applies", () => {
  fc.assert(rulesProperty(smallProfiles), FOR_A_MOMENT);
});

test.skipIf(skipped)("large profiles of all architectures: the same as libseccomp's", () => {
  fc.assert(libseccompProperty(largeProfiles), FOR_A_MOMENT);
});

test("large profiles of all architectures: the first rule that applies", () => {
  fc.assert(rulesProperty(largeProfiles), FOR_A_MOMENT);
});
