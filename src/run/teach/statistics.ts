/**
 * What collecting trajectories came to, in numbers.
 *
 * @module
 */

import type { Reference, Task } from "../../tasks/task.ts";
import { table } from "../table.ts";
import type { Journal } from "./journal.ts";
import { costOf, type Prices } from "./ledger.ts";
import type { TeachHalt } from "./teacher.ts";
import { judge, referenceOf, rejections, type Verdict } from "./verdict.ts";

/** What {@linkcode teach} came to; tokens, money and requests are those of all runs together. */
export interface TeachResult {
  /** The teacher. */
  readonly model: string;
  /** The task file that was written. */
  readonly out: string;
  /** The journal that it comes from. */
  readonly journal: string;
  /** `done` if every trajectory has ended. */
  readonly status: "done" | "stopped";
  /** Why it is not done; null if it is. */
  readonly stopped: { readonly by: TeachHalt; readonly message: string } | null;
  /** Tasks of the file. */
  readonly tasks: number;
  /** Those with a reference, which are the ones in `out`. */
  readonly taught: number;
  /** Lists of calls among the references, alternatives included. */
  readonly references: number;
  /** Trajectories asked for. */
  readonly samples: number;
  /** Trajectories that have ended. */
  readonly ended: number;
  /** Those worth learning from. */
  readonly accepted: number;
  /** The others, by what is wrong with them. */
  readonly rejected: Readonly<Record<string, number>>;
  /** Share of those ended whose answer is right, accepted or not; null if none has ended. */
  readonly passRate: number | null;
  /** Mean calls of a trajectory that has ended; null if none has. */
  readonly calls: number | null;
  /** Requests sent. */
  readonly requests: number;
  /** Those that failed, most of which were repeated. */
  readonly failures: number;
  /** Those under way when a process was killed. */
  readonly lost: number;
  /** Tokens sent and produced; of `estimated` answers the endpoint did not say how many. */
  readonly tokens: { readonly input: number; readonly output: number; readonly estimated: number };
  /** What that costs by the prices; null without prices. */
  readonly money: number | null;
  /** Seconds of this run. */
  readonly seconds: number;
}

/** The trajectories of one task, counted. */
export interface TaskCount {
  /** What was taught. */
  readonly task: Task;
  /** Its reference; null if there is none. */
  readonly reference: Reference | null;
  /** By what they came to. */
  readonly verdicts: readonly Verdict[];
  /** Those whose answer is right. */
  readonly correct: number;
  /** Calls of all of them. */
  readonly calls: number;
}

/** Counts the trajectories of a task that a journal has. */
export function countOf(task: Task, samples: number, journal: Journal): TaskCount {
  const ended = Array.from({ length: samples }, (_, sample) => journal.trajectory({ task, sample }))
    .filter((trajectory) => trajectory !== undefined);
  const judged = ended.map((trajectory) => judge(task, trajectory));
  return {
    task,
    reference: referenceOf(task, ended),
    verdicts: judged.map(({ verdict }) => verdict),
    correct: judged.filter(({ correct }) => correct).length,
    calls: ended.reduce((sum, { calls }) => sum + calls.length, 0),
  };
}

/** The numbers of all tasks together. */
export function summarise(
  counts: readonly TaskCount[],
  samples: number,
  { path, ledger }: Journal,
  prices: Prices | null,
): Omit<TeachResult, "model" | "out" | "status" | "stopped" | "seconds"> {
  const verdicts = counts.flatMap(({ verdicts }) => verdicts);
  const sum = (value: (count: TaskCount) => number) =>
    counts.reduce((total, count) => total + value(count), 0);
  const share = (total: number) => verdicts.length === 0 ? null : total / verdicts.length;
  const taught = counts.filter(({ reference }) => reference !== null);
  const { requests, failures, lost, spent, estimated } = ledger;
  return {
    journal: path,
    tasks: counts.length,
    taught: taught.length,
    references: taught.length + sum(({ reference }) => reference?.alternatives?.length ?? 0),
    samples: samples * counts.length,
    ended: verdicts.length,
    accepted: verdicts.filter((verdict) => verdict === "accepted").length,
    rejected: Object.fromEntries(
      rejections.map((reason) => [reason, verdicts.filter((each) => each === reason).length]),
    ),
    passRate: share(sum(({ correct }) => correct)),
    calls: share(sum(({ calls }) => calls)),
    ...{ requests, failures, lost },
    tokens: { ...spent, estimated },
    money: prices === null ? null : costOf(spent, prices),
  };
}

/** The result as text, for people: the numbers, and what to do next. @param tools as in the config */
export function renderTeaching(result: TeachResult, tools: readonly string[] | null): string {
  const use = tools === null ? "" : ` --tools ${tools.join(",")}`;
  return `${numbersOf(result)}\n\n${whatNow(result, use)}`;
}

function numbersOf(result: TeachResult): string {
  const { tasks, taught, references, samples, ended, accepted, rejected, tokens } = result;
  const { model, passRate, calls, requests, failures, lost, money, seconds } = result;
  const count = (value: number) => value.toLocaleString("en");
  const notes = [
    ...(failures > 0 ? [`${count(failures)} failed`] : []),
    ...(lost > 0 ? [`${count(lost)} lost with a process that was killed`] : []),
  ];
  const estimates = tokens.estimated > 0
    ? `; of ${count(tokens.estimated)} answers estimated, the endpoint does not say`
    : "";
  const rows: [string, string][] = [
    ["tasks", `${count(tasks)}, ${count(taught)} with a reference`],
    ["references", count(references)],
    ["trajectories", `${count(ended)} of ${count(samples)}`],
    ["accepted", count(accepted)],
    ...Object.entries(rejected).filter(([, many]) => many > 0)
      .map(([reason, many]): [string, string] => [`rejected: ${reason}`, count(many)]),
    ["right answers", passRate === null ? "-" : `${(100 * passRate).toFixed(1)} %`],
    ["calls a trajectory", calls === null ? "-" : calls.toFixed(2)],
    ...(requests === 0
      ? []
      : [["requests", [count(requests), ...notes].join(", ")] as [string, string]]),
    ["tokens", `${count(tokens.input)} in, ${count(tokens.output)} out${estimates}`],
    ...(money === null ? [] : [["money", money.toFixed(4)] as [string, string]]),
    ["seconds", seconds.toFixed(1)],
  ];
  return table(["teacher", model], rows);
}

const remedies: Readonly<Record<TeachHalt, string>> = {
  interrupt: "The same command goes on from there",
  budget: "With more of it (--budget-tokens, --budget-money) the same command goes on from there",
  wait: "The same command goes on from there, later",
  unanswered: "The same command asks for them again",
};

function whatNow({ stopped, out, taught, samples, ended }: TeachResult, use: string): string {
  const written = taught === 0
    ? "No task has a reference yet."
    : `Tasks with references: ${out}. Learn from them:\n  ./mentor train --tasks ${out}${use}`;
  if (stopped === null) return written;
  const { by, message } = stopped;
  return `${written}\nTrajectories left: ${samples - ended}, since ${message}. ${remedies[by]}.`;
}
