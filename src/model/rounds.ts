/**
 * How many rounds of decode steps are in flight.
 *
 * One is read back while the GPU works on the next. A fast GPU would be done with that long before: it
 * gets as many as are recorded during a read-back, and no more, since a sequence that has ended idles
 * in all of them.
 *
 * @module
 */

/** Where the host waits for each round, and at most where it works beside the GPU. */
export const ROUNDS_IN_FLIGHT = { least: 2, most: 8 };

/** What a read-back takes under Deno, ms. */
const READ_BACK = 12;

/**
 * How many rounds there should be in flight.
 *
 * @param took how long the last one took to record and submit, ms; a submit waits for the round before,
 * so that this is the GPU's time where that is the longer one
 * @param most no more than this
 */
export function roundsInFlight(took: number, most: number): number {
  return Math.min(most, Math.max(ROUNDS_IN_FLIGHT.least, 1 + Math.ceil(READ_BACK / took)));
}
