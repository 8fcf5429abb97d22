/**
 * A comparison as a table for other programs.
 *
 * @module
 */

import {
  type Comparison,
  type ComparisonRun,
  type DomainMeasures,
  measureNames,
} from "./comparison.ts";

/** What the base model is called among the arms. */
export const BASE = "base";

const COLUMNS = [
  ...["arm", "seed", "domain", "split", "prompts", "samples"],
  ...measureNames,
  ...["partial", "steps", "prompts_seen", "optimizer_tokens", "seconds"],
];

/**
 * One row per arm, seed, domain and split; RFC 4180 but for its line ends, which are `\n`. Columns:
 *
 * - `arm`: the arm, or `base` for the model before any training
 * - `seed`, `domain`, `split` (`train`, `composition`, `depth`, `domain`)
 * - `prompts`, `samples`: how many prompts were asked, and how often each
 * - `pass1`, `greedy`, `validity`, `similarity`, `toolF1`: in [0, 1]; `calls`: calls per task
 * - `partial`: share of answers that are wrong, with a call of some right tool; empty where it was not kept
 * - `steps`, `prompts_seen`, `optimizer_tokens`: up to the model that is measured; 0 for `base`
 * - `seconds`: of the whole run, or all that were chosen from; 0 for `base`
 *
 * What is not a number is left empty.
 */
export function comparisonCsv({ seeds, base, runs }: Comparison): string {
  const untrained = base.map((domains, i): Omit<ComparisonRun, "curve"> => ({
    ...{ arm: BASE, seed: seeds[i]!, domains },
    ...{ steps: 0, prompts: 0, optimizerTokens: 0, seconds: 0 },
  }));
  const rows = [...untrained, ...runs].flatMap((run) => run.domains.map((row) => cells(run, row)));
  return [COLUMNS, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
}

function cells(run: Omit<ComparisonRun, "curve">, row: DomainMeasures): (string | number)[] {
  return [
    ...[run.arm, run.seed, row.name, row.split],
    ...[row.outcomes.length, row.outcomes[0]?.length ?? 0],
    ...measureNames.map((name) => row.measures[name]),
    ...[row.partial ?? NaN, run.steps, run.prompts, run.optimizerTokens, run.seconds],
  ];
}

function cell(value: string | number): string {
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : "";
  return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}
