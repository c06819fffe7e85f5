/**
 * How much longer than usual everything takes: 1, or what TEST_TIME_FACTOR says of a slow machine (in the guest, where the
 * processor is emulated, 10). Every limit on time in the tests goes through `slow`, so that none is a guess at the machine.
 */
const factor = Number(process.env.TEST_TIME_FACTOR || 1);
if (!(factor >= 1)) throw new Error(`TEST_TIME_FACTOR is a number from 1 on, not "${process.env.TEST_TIME_FACTOR}"`);

/** What runs here comes in another order than elsewhere, for nothing is as fast as a test expects. */
export const IS_SLOW = factor > 1;

/** A limit in milliseconds as it is on this machine. */
export function slow(milliseconds: number): number {
  return milliseconds * factor;
}
