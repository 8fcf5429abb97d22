/**
 * The inspection of a file of tasks as text, for people.
 *
 * @module
 */

import { type RowCounts, total } from "../../tasks/formats/reader.ts";
import type { FileAccount, Spread, TaskInspection } from "./inspect.ts";
import { table } from "../table.ts";
import { NEAR, type Overlap } from "./overlap.ts";

/** Tools that are listed. */
const TOOLS = 20;

/** Everything that an inspection found. */
export function renderInspection(found: TaskInspection): string {
  const { references, evaluation, unit } = found;
  return [
    ...account(found),
    groups(found),
    lengths(found),
    histogram(found),
    tools(found),
    references.run > 0 ? `References run by the tools: ${references.run}` : "",
    problems("Problems of references", references.problems, unit),
    twins("Duplicates: tasks like an earlier one", found.duplicates),
    twins("Leaks: held-out tasks like one trained on", found.heldOut),
    ...(evaluation ? account(evaluation.file) : []),
    evaluation ? twins("Leaks: tasks for evaluation like one of this", evaluation) : "",
    ...found.samples.map(({ id, prompt, demonstration }) =>
      [
        `Task ${id}, as the model sees it:`,
        indented(prompt),
        ...(demonstration === null ? [] : ["and goes on as the reference does:"]),
        ...(demonstration === null ? [] : [indented(demonstration)]),
      ].join("\n")
    ),
  ].filter((part) => part !== "").join("\n\n");
}

function account({ source, format, rows, tasks, leftOut, invalid, unit }: FileAccount): string[] {
  const aside = [
    [total(leftOut), "left out"],
    [total(invalid), "malformed"],
  ] as const;
  return [
    `${source}: ${rows} rows in the format ${format}, ${tasks} tasks` +
    aside.map(([n, what]) => n > 0 ? `, ${n} ${what}` : "").join(""),
    problems("Rows left out", leftOut, unit),
    problems("Malformed rows", invalid, unit),
  ];
}

function problems(title: string, counts: RowCounts, unit: "row" | undefined): string {
  const rows = Object.entries(counts).map(([reason, { count, firstLine, example }]) => [
    reason,
    // An example that goes on where the reason ends need not repeat it.
    clip(example?.startsWith(reason) ? example.slice(reason.length + 2) : example ?? ""),
    `${firstLine}`,
    `${count}`,
  ]);
  if (rows.length === 0) return "";
  return `${title}\n${table(["reason", "such as", `first ${unit ?? "line"}`, "rows"], rows)}`;
}

function groups({ groups }: TaskInspection): string {
  if (groups.length === 0) return "";
  const header = ["domain", "split", "check", "tasks", "held out", "with reference"];
  const rows = groups.map(({ domain, split, check, tasks, heldOut, references }) => [
    ...[domain, split, check],
    ...[tasks, heldOut, references].map(String),
  ]);
  return table(header, rows);
}

function lengths({ characters, tokens }: TaskInspection): string {
  const rows = [
    ["prompt", "characters", characters],
    ["prompt with tools", "tokens", tokens?.prompt],
    ["episode as the reference", "tokens", tokens?.episode],
  ] as const;
  const cells = ({ least, median, p95, most }: Spread) => [least, median, p95, most].map(String);
  const present = rows.flatMap(([what, unit, sizes]) =>
    sizes ? [[what, unit, ...cells(sizes)]] : []
  );
  if (present.length === 0) return "";
  return table(["length of", "in", "least", "median", "95 %", "most"], present);
}

function histogram({ calls }: TaskInspection): string {
  if (calls.length === 0) return "";
  const most = Math.max(...calls.map(({ tasks }) => tasks));
  const rows = calls.map(({ calls, tasks }) => [
    String(calls),
    "#".repeat(Math.ceil(30 * tasks / most)),
    String(tasks),
  ]);
  return table(["calls", "", "references"], rows);
}

function tools({ tools }: TaskInspection): string {
  if (tools.length === 0) return "";
  const rows = tools.slice(0, TOOLS).map(({ name, runs, offered, called }) => [
    name,
    runs ? "runs" : "declared",
    String(offered),
    String(called),
  ]);
  const rest = tools.length - rows.length;
  return table(["tool", "", "tasks", "calls in references"], rows) +
    (rest > 0 ? `\nand ${rest} more` : "");
}

function twins(title: string, { exact, near, pairs }: Overlap): string {
  if (exact + near === 0) return `${title}: none`;
  const lines = pairs.map(({ first, second, prompt, similarity }) =>
    `  ${second} like ${first} (${similarity.toFixed(2)}): ${clip(prompt)}`
  );
  const more = exact + near > pairs.length ? ["  ..."] : [];
  return [
    `${title}: ${exact} the same, ${near} nearly (similarity ${NEAR} and more)`,
    ...lines,
    ...more,
  ].join("\n");
}

function clip(text: string): string {
  const line = text.replaceAll(/\s+/g, " ");
  return line.length <= 60 ? line : `${line.slice(0, 57)}...`;
}

function indented(text: string): string {
  return text.split("\n").map((line) => `  | ${line}`).join("\n");
}
