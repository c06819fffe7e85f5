/**
 * How much longer than usual everything takes: 1, or what TEST_TIME_FACTOR says of a slow machine (in the guest, where the
 * processor is emulated, 10). Every limit on time in the tests goes through `slow`, so that none is a guess at the machine.
 */
const factor = Number(process.env.TEST_TIME_FACTOR || 1);
if (!(factor >= 1)) throw new Error(`TEST_TIME_FACTOR is a number from 1 on, not "${process.env.TEST_TIME_FACTOR}"`);

/** A limit in milliseconds as it is on this machine. */
export function slow(milliseconds: number): number {
  return milliseconds * factor;
}
