/**
 * What is compared: the arms, what they have in common, and what is expected of them.
 *
 * All of this was written down before the first comparison was run. The number of steps was set
 * after a pilot of two arms with a training seed that the comparison does not use.
 *
 * @module
 */

import { basename, extname } from "@std/path";
import { ConfigError, readConfigFile } from "../config.ts";
import type { ComparisonArm, Scope } from "../report/comparison.ts";
import { suggestion } from "../suggest.ts";

/** The arms by name, in the order of the report. */
const known: readonly ComparisonArm[] = [
  {
    name: "sft",
    description: "Imitates the teacher's references on the same prompts, with as many training " +
      "sequences as the others; learning rate and end are chosen on validation prompts",
    settings: { method: "sft" },
  },
  {
    name: "sparse",
    description: "Reinforcement learning on outcomes: 1 for a right answer, 0.1 for a wrong one",
    settings: { reward: "sparse" },
  },
  {
    name: "strict",
    description:
      "Outcomes, and replaying the teacher's calls exactly, names and arguments in order",
    settings: { reward: "strict" },
  },
  {
    name: "mentor-exact",
    description: "MENTOR's published reward: outcomes, and the same set of tools as the teacher's",
    settings: { reward: "mentor-exact" },
  },
  {
    name: "flex",
    description: "This project's composite reward: outcomes, and tools and arguments like the " +
      "teacher's, with room for other ways, less of it as training goes on",
    settings: { reward: "flex" },
  },
];

/** Names of the arms that need no config file. */
export const armNames: readonly string[] = known.map(({ name }) => name);

/**
 * The arms of a list: names, or paths of config files, whose name is then the file's.
 *
 * @throws {ConfigError} if there is no such arm, or two have the same name.
 */
export function armsNamed(list: readonly string[]): ComparisonArm[] {
  const arms = list.map((item) => {
    const arm = known.find(({ name }) => name === item);
    if (arm) return arm;
    if (!/\.(json|ya?ml)$/i.test(item)) {
      throw new ConfigError(
        `Cannot compare "${item}": there is no such arm${
          suggestion(item, armNames)
        }. Name some of ` +
          `${armNames.join(", ")}, or config files`,
      );
    }
    const name = basename(item, extname(item));
    return { name, description: `Settings of ${basename(item)}`, settings: readConfigFile(item) };
  });
  const names = arms.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new ConfigError(`Cannot compare "${twice}" with itself: give arms different names`);
  }
  return arms;
}

/**
 * What all arms share, unless the command line says otherwise. A teacher that does three of ten easy
 * calculations in its head, and shows no call for them, is a teacher with a capacity of its own: were
 * it perfect, nothing could beat imitating it.
 */
export const regime = {
  /** Steps of reinforcement, of 16 prompts x 8 episodes each. */
  steps: 120,
  /** Different training prompts, for all arms the same. */
  limit: 256,
  teacher: { mental: 0.3 },
  pretrain: { behaviour: "rare" },
  /** Of the last evaluation, per domain and split. */
  evaluation: { prompts: 64 },
} as const;

/** Learning rates that imitation may have; the one that does better on validation prompts counts. */
export const imitationRates: readonly number[] = [3e-4, 1e-3];

/** What the regime is, for readers of the report. */
export const regimeText =
  "A nano student (0.2 M parameters) is pretrained per seed on traces of a policy whose decisions are " +
  "mostly wrong (wrong tool, swapped arguments, guesses, early ends: each the likelier choice by " +
  "itself), so that success takes several rare decisions at once while partial credit is common. All " +
  "arms of a seed start from that same model and train on the same 256 prompts of five domains. " +
  "Reinforcement: 120 steps of 16 prompts x 8 episodes, GRPO with the defaults of `train`, only the " +
  "reward differs. Imitation: as many training sequences (480 steps of 32), learning rate out of two " +
  "and number of steps chosen on validation prompts. The teacher does 30 % of additions and " +
  "subtractions in its head. Evaluation: prompts never trained on, sampled at temperature 1 and " +
  "greedily, judged by the task's verifier alone. Held out are new combinations of known tools, three " +
  "steps after training on one and two, and new domains; the base has seen all of them, poorly.";

/** A difference of two arms that is expected to be above 0. */
export interface Expectation {
  readonly id: string;
  readonly statement: string;
  readonly arm: string;
  /** `base` is the model that the arms start from. */
  readonly against: string;
  readonly measure: "pass1" | "similarity" | "rollouts";
  readonly scope: Scope;
}

/** The hypotheses, as they stood before the first run. */
export const expectations: readonly Expectation[] = [
  {
    id: "H1",
    statement: "flex does better than imitation on held-out domains",
    ...{ arm: "flex", against: "sft", measure: "pass1", scope: "held-out" },
  },
  {
    id: "H2",
    statement: "flex does better than strict matching on held-out domains",
    ...{ arm: "flex", against: "strict", measure: "pass1", scope: "held-out" },
  },
  {
    id: "H3",
    statement: "flex needs fewer episodes than sparse to 60 % on the domains trained on",
    ...{ arm: "flex", against: "sparse", measure: "rollouts", scope: "train" },
  },
  {
    id: "H4",
    statement: "flex makes the student more like the teacher than it was, in the tools it calls",
    ...{ arm: "flex", against: "base", measure: "similarity", scope: "held-out" },
  },
  {
    id: "H5",
    statement: "sparse does better than imitation on held-out domains",
    ...{ arm: "sparse", against: "sft", measure: "pass1", scope: "held-out" },
  },
  {
    id: "H6",
    statement: "flex does better than sparse on held-out domains",
    ...{ arm: "flex", against: "sparse", measure: "pass1", scope: "held-out" },
  },
  {
    id: "H7",
    statement: "mentor-exact does better than sparse on held-out domains",
    ...{ arm: "mentor-exact", against: "sparse", measure: "pass1", scope: "held-out" },
  },
];
