/**
 * The conditions of a comparison: what all its arms share, in settings and in words.
 *
 * @module
 */

import { sizes } from "../../model/config.ts";
import { ConfigError, resolveConfig, type RunConfig, valueAt } from "../config/mod.ts";
import { flagName } from "../config/flags.ts";
import type { ComparisonArm } from "../report/comparison.ts";
import { flatten } from "../report/format.ts";
import { armNames, defaults, imitationRates } from "./arms.ts";

/** Evaluations on the way: prompts per domain and split, and how many times. */
export const CURVE = { prompts: 8, points: 10 };
/** Prompts per domain on which imitation's learning rate and end are chosen. */
export const VALIDATION = 24;

/** What a comparison is made under. */
export interface Regime {
  readonly arms: readonly ComparisonArm[];
  /** Settings that all arms share. */
  readonly shared: RunConfig;
  /** Whether the model to start from was given; else each seed makes its own. */
  readonly given: boolean;
  /** Learning rates that imitation chooses from. */
  readonly rates: readonly number[];
}

/** Settings that would be overruled if they were given, and why. */
const DECIDED: Readonly<Record<string, string>> = {
  resume: "a comparison goes on by itself, by the same command with the same --out",
  warmupSft: "every arm starts from the same model, by its own method",
  "evaluation.everySteps": "learning curves have a point for every tenth of a run",
  "checkpoint.everySteps": "runs are saved at every tenth",
  "grpo.resampleDead": "arms would sample different numbers of episodes",
};

/**
 * The regime that settings amount to.
 *
 * @param input settings that win over the experiment's own
 * @throws {ConfigError} if one is not usable, alone or by an arm.
 */
export function regimeOf(
  input: Readonly<Record<string, unknown>>,
  arms: readonly ComparisonArm[],
): Regime {
  for (const [path, why] of Object.entries(DECIDED)) {
    if ((valueAt(input, path) ?? null) === null) continue;
    throw new ConfigError(`Cannot compare with ${path} set: ${why}. Leave it out`);
  }
  const shared = resolveConfig({ preset: defaults, flags: input });
  const rate = valueAt(input, "sft.learningRate") as number | undefined;
  // Every arm is resolved before the first one runs.
  for (const arm of arms) armConfig(shared, arm);
  return {
    arms,
    shared,
    given: input.from !== undefined,
    rates: rate === undefined ? imitationRates : [rate],
  };
}

/** The config of an arm: the shared one, the arm's own settings, and what the occasion asks for. */
export function armConfig(
  shared: RunConfig,
  { name, settings }: ComparisonArm,
  own: Readonly<Record<string, unknown>> = {},
): RunConfig {
  try {
    return resolveConfig({ preset: shared, file: settings, flags: own });
  } catch (error) {
    throw new ConfigError(`Arm "${name}": ${(error as Error).message}`, { cause: error });
  }
}

/** Whether an arm imitates the teacher, and so needs prompts to choose a model by. */
export function imitates(shared: RunConfig, arm: ComparisonArm): boolean {
  return armConfig(shared, arm).method === "sft";
}

/** The command that makes the comparison again, in a folder of its reader's choice. */
export function commandOf(
  input: Readonly<Record<string, unknown>>,
  list: readonly string[],
  seeds: number,
): string {
  const flags: [name: string, value: unknown][] = [
    ["seeds", seeds],
    ...(list.join() === armNames.join() ? [] : [["arms", list.join()] as [string, unknown]]),
    ...flatten(input).filter(([path]) => path !== "out")
      .map(([path, value]) => [flagName(path), value] as [string, unknown]),
  ];
  const words = flags.map(([name, value]) => ` --${name} ${quoted(String(value))}`);
  return `./mentor compare${words.join("")}`;
}

/** A word of a POSIX shell. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** What the regime is, for readers of the report. */
export function regimeText({ arms, shared, given, rates }: Regime): string {
  const reinforced = arms.some((arm) => !imitates(shared, arm));
  const imitated = arms.filter((arm) => imitates(shared, arm));
  return [
    base(shared, given),
    prompts(shared),
    reinforced ? reinforcement(shared) : "",
    imitated.length > 0 ? imitation(shared, imitated[0]!, rates) : "",
    teacher(shared),
    evaluation(shared, given),
  ].filter((sentence) => sentence !== "").join(" ");
}

function base({ from, size, pretrain }: RunConfig, given: boolean): string {
  if (given) return `All arms start from the model ${from}.`;
  const { layers, hiddenSize } = sizes[size];
  const policy = pretrain.behaviour === "rare"
    ? "a policy whose decisions are mostly wrong (wrong tool, swapped arguments, guesses, early ends: " +
      "each the likelier choice by itself), so that success takes several rare decisions at once " +
      "while partial credit is common"
    : "a policy that is flawed in several ways at once";
  return `A ${size} student (${layers} layers of ${hiddenSize} channels) is pretrained per seed, for ` +
    `${pretrain.steps} steps, on traces of ${policy}. All arms of a seed start from that same model.`;
}

function prompts({ tasks, limit, domains }: RunConfig): string {
  const own = `the same ${limit === null ? "stream of" : limit} prompts`;
  return tasks === null
    ? `They train on ${own} of ${domains.length} domains (${domains.join(", ")}).`
    : `They train on the same tasks of ${tasks}${
      limit === null ? "" : `, read up to number ${limit}`
    }.`;
}

function reinforcement({ steps, rollout: { prompts, group } }: RunConfig): string {
  return `Reinforcement: ${steps} steps of ${prompts} prompts x ${group} episodes, with the same ` +
    "settings but for those that the table of arms shows.";
}

function imitation(
  shared: RunConfig,
  arm: ComparisonArm,
  rates: readonly number[],
): string {
  const { sft } = armConfig(shared, arm);
  const steps = matchedSteps(armConfig(shared, arm));
  const own = valueAt(arm.settings, "sft.learningRate") !== undefined || rates.length === 1;
  const chosen = own
    ? "number of steps"
    : `learning rate (${rates.join(" or ")}) and number of steps`;
  return `Imitation: as many training sequences (${steps} steps of ${sft.batch}), ${chosen} chosen on ` +
    "prompts of the domains trained on that neither training nor evaluation sees.";
}

/** Steps of imitation with as many training sequences as there are episodes in the other arms. */
export function matchedSteps({ steps, rollout: { prompts, group }, sft }: RunConfig): number {
  return Math.ceil(steps * prompts * group / sft.batch);
}

function teacher({ tasks, teacher: { mental } }: RunConfig): string {
  if (tasks !== null) return "The teacher is the file's references.";
  return mental === 0
    ? "The teacher shows every call."
    : `The teacher does ${Math.round(100 * mental)} % of additions and subtractions in its head.`;
}

function evaluation(
  { tasks, evaluation: { prompts, samples } }: RunConfig,
  given: boolean,
): string {
  const answers = `${samples} answer${
    samples === 1 ? "" : "s"
  } sampled at temperature 1 and a greedy one`;
  return `Evaluation: ${
    tasks === null ? "" : "up to "
  }${prompts} prompts per domain and split that are ` +
    `never trained on, of each ${answers}, judged by the task's verifier alone.` +
    (tasks === null
      ? " Held out are new combinations of known tools, three steps after training on one and two, and " +
        `new domains${given ? "" : "; the base has seen all of them, poorly"}.`
      : "");
}
