/**
 * Which tasks a number of a comparison is over.
 *
 * @module
 */

import { type ArmMeasures, type DomainMeasures, type Scope, scopes } from "./comparison.ts";
import { isNumber } from "./format.ts";

/** A domain in one split. */
type Place = Pick<DomainMeasures, "name" | "split">;

/** The built-in domain whose tasks need no tool. */
const TOOLLESS = "none";

/** Whether a domain in a split belongs to a scope. */
export function isIn({ name, split }: Place, scope: Scope): boolean {
  if (scope === "held-out") return split !== "train";
  return scope === "train-tools" ? split === "train" && name !== TOOLLESS : split === scope;
}

/**
 * The scopes that there are tasks in: those of a task file may all be of one split. `train-tools` is
 * one only where it is not the whole of `train`.
 */
export function scopesOf(places: readonly Place[]): Scope[] {
  const within = (scope: Scope) => places.filter((place) => isIn(place, scope)).length;
  return scopes.filter((scope) =>
    within(scope) > 0 && (scope !== "train-tools" || within(scope) < within("train"))
  );
}

/** A measure of one model in a scope: the mean over prompts; NaN if nothing was measured. */
export function scopeMean(
  domains: readonly DomainMeasures[],
  scope: Scope,
  measure: keyof ArmMeasures,
): number {
  let sum = 0;
  let prompts = 0;
  for (const domain of domains) {
    const value = domain.measures[measure];
    if (!isIn(domain, scope) || !isNumber(value)) continue;
    sum += value * domain.outcomes.length;
    prompts += domain.outcomes.length;
  }
  return sum / prompts;
}
