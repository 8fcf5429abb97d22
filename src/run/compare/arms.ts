/**
 * What is compared: the arms, what they have in common, and what is expected of them.
 *
 * All of this was written down before the first comparison was run. The number of steps was set
 * after a pilot of two arms with a training seed that the comparison does not use.
 *
 * @module
 */

import { basename, extname } from "@std/path";
import { ConfigError, readConfigFile, valueAt } from "../config/mod.ts";
import type { ComparisonArm, Scope } from "../report/comparison.ts";
import { suggestion } from "../config/suggest.ts";

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
    description:
      "MENTOR's published reward: outcomes, and the same set of tools as the teacher's; " +
      "where the teacher calls none (one prompt in five of the built-in ones), every finished answer " +
      "is worth the same, and whether it is right is not learnt",
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
 * @throws {ConfigError} if there is no such arm, two have the same name, or one sets what all share.
 */
export function armsNamed(list: readonly string[]): ComparisonArm[] {
  const arms = list.map((item) => known.find(({ name }) => name === item) ?? armOf(item));
  const names = arms.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new ConfigError(`Cannot compare "${twice}" with itself: give arms different names`);
  }
  const [rated] = names.filter((name) => names.some((other) => isRated(name, other)));
  if (rated !== undefined) throw misnamed(rated);
  return arms;
}

function armOf(path: string): ComparisonArm {
  if (!/\.(json|ya?ml)$/i.test(path)) {
    throw new ConfigError(
      `Cannot compare "${path}": there is no such arm${suggestion(path, armNames)}. Name some of ` +
        `${armNames.join(", ")}, or config files`,
    );
  }
  const name = basename(path, extname(path));
  // The report judges arms by their names.
  const taken = [...armNames, "base"];
  const like = (other: string) => name.toLowerCase() === other || isRated(name, other);
  if (taken.some(like)) throw misnamed(path);
  const settings = readConfigFile(path);
  for (const [why, paths] of SHARED) {
    const own = paths.find((one) => valueAt(settings, one) !== undefined);
    if (own === undefined) continue;
    throw new ConfigError(
      `Cannot compare "${path}": it sets ${own}, but ${why}. Take that out of the file`,
    );
  }
  return { name, description: `Settings of ${basename(path)}`, settings };
}

/** Whether a name is another arm's with a learning rate, as imitation names its runs. */
function isRated(name: string, other: string): boolean {
  return name.startsWith(`${other}-`) && Number.isFinite(Number(name.slice(other.length + 1)));
}

function misnamed(arm: string): ConfigError {
  return new ConfigError(
    `Cannot compare "${arm}" under the name of its file: that has a meaning here. Rename the file`,
  );
}

/** What an arm may not set for itself, and why. */
const SHARED: readonly (readonly [why: string, paths: readonly string[]])[] = [
  [
    "all arms have the same budget (give it to all of them, as a flag of compare)",
    ["steps", "rollout.prompts", "rollout.group"],
  ],
  [
    "all arms have the same tasks and teacher (give it to all of them, as a flag of compare)",
    ["tasks", "limit", "tools", "domains", "teacher"],
  ],
  [
    "all arms are measured alike (give it to all of them, as a flag of compare)",
    ["evaluation", "chat"],
  ],
  [
    "all arms start from the same model (give it to all of them, as a flag of compare)",
    ["from", "size", "pretrain"],
  ],
  ["every arm starts from the same model, by its own method", ["warmupSft"]],
  ["arms would sample different numbers of episodes", ["grpo.resampleDead"]],
  ["the comparison says which seeds there are, and where runs lie and go on from", [
    "seed",
    "out",
    "resume",
    "checkpoint",
  ]],
];

/**
 * What all arms share, unless the command line says otherwise. A teacher that does three of ten easy
 * calculations in its head, and shows no call for them, is a teacher with a capacity of its own: were
 * it perfect, nothing could beat imitating it.
 */
export const defaults = {
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
