/**
 * Scores as text, for people.
 *
 * @module
 */

import type { EvaluationRow, Scores } from "../rl/evaluate.ts";
import type { Interval } from "../rl/statistics.ts";
import type { BenchmarkRow } from "./benchmark/mod.ts";
import type { DomainResult } from "./evaluate.ts";
import type { Comparison } from "./report/comparison.ts";

const splitNames: Readonly<Record<string, string>> = {
  train: "trained on",
  composition: "new combinations",
  depth: "more steps",
  domain: "new domains",
};

const percent = (share: number) => (100 * share).toFixed(1);

/** Columns with a line below their names; the first two to the left, numbers to the right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((name, i) =>
    Math.max(name.length, ...rows.map((row) => row[i]!.length))
  );
  const line = (cells: readonly string[]) =>
    cells.map((cell, i) => i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  ")
      .trimEnd();
  return [line(header), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)]
    .join("\n");
}

function interval({ ci95: [low, high] }: Pick<Scores, "ci95">): string {
  return `[${percent(low)}, ${percent(high)}]`;
}

/** Before and after, per domain and split, with a line per split: the mean over its domains. */
export function renderComparison(domains: readonly DomainResult[]): string {
  const rows = domains.map(({ name, split, before, after }) => [
    splitNames[split]!,
    name,
    percent(before.pass1),
    interval(before),
    percent(after.pass1),
    interval(after),
    percent(after.greedy),
    percent(after.validity),
    after.calls.toFixed(2),
    after.similarity.toFixed(2),
  ]);
  const groups = Map.groupBy(domains, ({ split }) => split);
  const means = [...groups].map(([split, members]) => {
    const mean = (value: (member: DomainResult) => number) =>
      members.reduce((sum, member) => sum + value(member), 0) / members.length;
    const [before, after] = [mean((m) => m.before.pass1), mean((m) => m.after.pass1)];
    const change = 100 * (after - before);
    return [
      splitNames[split]!,
      "mean",
      percent(before),
      "",
      percent(after),
      `${change >= 0 ? "+" : ""}${change.toFixed(1)} points`,
      percent(mean((m) => m.after.greedy)),
      percent(mean((m) => m.after.validity)),
      mean((m) => m.after.calls).toFixed(2),
      mean((m) => m.after.similarity).toFixed(2),
    ];
  });
  const header = [
    "split",
    "domain",
    "before %",
    "95 %",
    "after %",
    "95 %",
    "greedy %",
    "valid %",
    "calls",
    "like teacher",
  ];
  return `${table(header, [...rows, ...means])}\n\n` +
    "before, after: pass@1 of sampled answers; 95 %: interval over prompts; valid: calls that ran;\n" +
    "like teacher: 1 - JSD of the tools called, 1 is the teacher's own mix";
}

/** One evaluation, per domain and split. */
export function renderScores(rows: readonly EvaluationRow[]): string {
  const header = ["split", "domain", "pass@1 %", "95 %", "greedy %", "valid %", "tool F1", "calls"];
  return table(
    header,
    rows.map((row) => [
      splitNames[row.split]!,
      row.name,
      percent(row.pass1),
      interval(row),
      percent(row.greedy),
      percent(row.validity),
      row.toolF1.toFixed(2),
      row.calls.toFixed(2),
    ]),
  );
}

/** What was right of a benchmark, and what was wrong with the rest. */
export function renderBenchmark(rows: readonly BenchmarkRow[]): string {
  const header = ["benchmark", "asked", "right %", "95 %", "calls"];
  const scores = rows.map(({ name, tasks, greedy, ci95, calls }) => [
    ...[name, String(tasks), percent(greedy)],
    ...[interval({ ci95 }), calls.toFixed(2)],
  ]);
  const errors = rows.flatMap(({ name, errors }) =>
    Object.entries(errors).map(([error, times]) => [name, error, String(times)])
  );
  const notes = rows.filter(({ leftOut }) => leftOut > 0)
    .map(({ name, leftOut }) => `${name}: ${leftOut} questions of the file are not asked`);
  return [
    table(header, scores),
    ...(errors.length > 0 ? ["", table(["benchmark", "what is wrong", "answers"], errors)] : []),
    ...(notes.length > 0 ? ["", ...notes] : []),
  ].join("\n");
}

/** A comparison: each arm in and out of the domains trained on, and what became of the hypotheses. */
export function renderArms({ summary, hypotheses }: Comparison): string {
  const header = [
    "arm",
    "where",
    "pass@1 %",
    "95 %",
    "greedy %",
    "valid %",
    "calls",
    "like teacher",
  ];
  // One seed has no interval.
  const ends = ({ low, high }: Interval, unit = 100, digits = 1) =>
    Number.isFinite(low) && Number.isFinite(high)
      ? `[${(unit * low).toFixed(digits)}, ${(unit * high).toFixed(digits)}]`
      : "-";
  const rows = summary.filter(({ scope }) => scope === "train" || scope === "held-out")
    .map(({ arm, scope, measures: { pass1, greedy, validity, calls, similarity } }) => [
      arm,
      scope === "train" ? "trained on" : "held out",
      percent(pass1.mean),
      ends(pass1),
      percent(greedy.mean),
      percent(validity.mean),
      calls.mean.toFixed(2),
      similarity.mean.toFixed(2),
    ]);
  const claims = hypotheses.map(({ id, statement, estimate, unit, verdict }) => [
    id,
    statement,
    `${estimate.mean.toFixed(unit === "similarity" ? 3 : 1)} ${unit}`,
    ends(estimate, 1, unit === "similarity" ? 3 : 1),
    verdict,
  ]);
  const notes = hypotheses.flatMap(({ id, note }) => note === undefined ? [] : [`${id}: ${note}`]);
  return [
    `${table(header, rows)}\n`,
    table(["", "hypothesis", "by", "95 %", "verdict"], claims),
    ...notes,
  ].join("\n");
}
