/**
 * What clients cost a run, from two runs that did the same steps.
 *
 * @module
 */

/** A step of a run. */
export interface WatchedStep {
  readonly step: number;
  /** Wall time. */
  readonly seconds: number;
  /** Whether clients were there. */
  readonly watched: boolean;
}

/** The same steps without and with clients. */
export interface Pairs {
  /** That were compared. */
  readonly steps: number;
  /** Mean wall time of a step. */
  readonly aloneMs: number;
  readonly watchedMs: number;
  /** Of throughput, as a share: negative where clients slow it. The geometric mean of the steps. */
  readonly change: number;
  readonly ci95: readonly [number, number];
}

/** Compares the steps that one run did with clients and the other without. */
export function paired(first: Iterable<WatchedStep>, second: Iterable<WatchedStep>): Pairs {
  const steps = new Map([...first].map((step) => [step.step, step]));
  const pairs = [...second].flatMap((other) => {
    const one = steps.get(other.step);
    if (!one || one.watched === other.watched) return [];
    const [watched, alone] = one.watched ? [one, other] : [other, one];
    return [{ watched: watched.seconds, alone: alone.seconds }];
  });
  const gains = pairs.map(({ watched, alone }) => Math.log(alone / watched));
  const middle = mean(gains);
  const variance = gains.reduce((sum, gain) => sum + (gain - middle) ** 2, 0) / (gains.length - 1);
  const error = 1.96 * Math.sqrt(variance / gains.length);
  return {
    steps: pairs.length,
    aloneMs: 1000 * mean(pairs.map(({ alone }) => alone)),
    watchedMs: 1000 * mean(pairs.map(({ watched }) => watched)),
    change: Math.expm1(middle),
    ci95: [Math.expm1(middle - error), Math.expm1(middle + error)],
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
