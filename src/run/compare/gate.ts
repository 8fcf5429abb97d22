/**
 * Whether a base is one from which the question can be asked: it writes valid calls, rarely succeeds,
 * and is often on the way.
 *
 * @module
 */

import type { BaseGate, DomainMeasures, Scope } from "../report/comparison.ts";
import { isIn, scopeMean, scopesOf } from "../report/comparison_scopes.ts";
import type { Bases } from "./hypotheses.ts";

/** Partial credit is to be at least so many times as frequent as success. */
const RATIO = 10;

/** The base of each seed, measured on the domains trained on that need tools. */
export function judgeBases(bases: Bases): BaseGate[] {
  return bases.map(({ seed, domains }) => {
    const scope = scopesOf(domains).includes("train-tools") ? "train-tools" : "train";
    const validity = scopeMean(domains, scope, "validity");
    const pass1 = scopeMean(domains, scope, "pass1");
    const partial = partialOver(domains, scope);
    const passed = validity > 0.9 && pass1 >= 0.005 && pass1 <= 0.3 &&
      !(partial < RATIO * pass1);
    return { seed, validity, pass1, partial, passed };
  });
}

/** Mean over prompts; NaN where it was not kept. */
function partialOver(domains: readonly DomainMeasures[], scope: Scope): number {
  const own = domains.filter((domain) => isIn(domain, scope));
  const prompts = own.reduce((sum, { outcomes }) => sum + outcomes.length, 0);
  return own.reduce((sum, { partial = NaN, outcomes }) => sum + partial * outcomes.length, 0) /
    prompts;
}

/** What a conclusion has to say of bases that are not as wanted; empty where all are. */
export function warnOfBases(gates: readonly BaseGate[]): string {
  const failed = gates.filter(({ passed }) => !passed).map(({ seed }) => seed);
  if (failed.length === 0) return "";
  return `The base of seed ${
    failed.join(", ")
  } is not what the experiment asks for (over the domains ` +
    "trained on that need tools: valid calls above 90 %, pass@1 from 0.5 to 30 %, partial credit " +
    `${RATIO} times as frequent), so that these numbers answer another question.`;
}
