/**
 * Learning rates over time.
 *
 * @module
 */

/**
 * Linear warm-up, then a cosine down to `floor` times the peak.
 *
 * @param step from 0
 */
export function warmupCosine(
  step: number,
  total: number,
  { peak, warmup, floor = 0.1 }: { peak: number; warmup: number; floor?: number },
): number {
  if (step < warmup) return peak * (step + 1) / warmup;
  const progress = Math.min(1, (step - warmup) / Math.max(1, total - warmup));
  return peak * (floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * progress)));
}
