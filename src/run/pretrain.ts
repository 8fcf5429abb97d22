/**
 * Making and judging a base model.
 *
 * @module
 */

import type { Evaluation, EvaluationRow } from "../rl/evaluate.ts";
import { Learner } from "../rl/learner.ts";
import { pretrain } from "../rl/pretrain.ts";
import { openAdapter } from "./adapter.ts";
import type { RunConfig } from "./config/mod.ts";
import { evaluateStudent } from "./evaluate.ts";
import { renderScores } from "./table.ts";
import { newStudent, type Student, studentFiles } from "./student.ts";
import { saveFolder } from "../io/checkpoint.ts";

/** What makes a base worth starting from, measured on the domains that fine-tuning trains on. */
export interface Gate {
  /** Share of sampled calls that ran; above 0.9. */
  readonly validity: number;
  /** Share of correct sampled answers; from 0.005 to 0.3. */
  readonly pass1: number;
  /** Share of correct greedy answers; what it does by default should be wrong. */
  readonly greedy: number;
  /** Mean multiset F1 of the tools called: partial credit. */
  readonly toolF1: number;
  /** Whether validity and pass1 are in their ranges. */
  readonly passed: boolean;
  /** Every domain and split. */
  readonly domains: readonly EvaluationRow[];
}

/** Weight decay and clipping of pretraining; the rest comes from the config. */
const PRETRAIN = { weightDecay: 0.1, gradClip: 1 };

/** Trains a student on the flawed policy's traces; aborting ends it with the signal's reason. */
export async function pretrainStudent(
  student: Student,
  { optimizer: { betas, epsilon }, pretrain: options, seed, tokenBudget }: RunConfig,
  onProgress?: (what: string, done: number, total: number, loss: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  using learner = new Learner(student.model, { betas, epsilon, ...PRETRAIN });
  await pretrain(
    learner,
    student.chat,
    { ...options, seed, tokenBudget },
    (step, { loss }) => {
      onProgress?.("pretrain", step, options.steps, loss);
      signal?.throwIfAborted();
    },
  );
}

/** Judges an evaluation of a base. */
export function judge({ rows }: Evaluation): Gate {
  const trained = rows.filter(({ split }) => split === "train");
  const mean = (value: (row: EvaluationRow) => number) =>
    trained.reduce((sum, row) => sum + value(row), 0) / trained.length;
  const validity = mean((row) => row.validity);
  const pass1 = mean((row) => row.pass1);
  return {
    validity,
    pass1,
    greedy: mean((row) => row.greedy),
    toolF1: mean((row) => row.toolF1),
    passed: validity > 0.9 && pass1 >= 0.005 && pass1 <= 0.3,
    domains: rows,
  };
}

/**
 * Makes a base model: pretrains, measures, and saves weights (bf16), tokenizer and `gate.json`.
 * Aborting ends it with the signal's reason, and nothing is saved.
 *
 * @throws {CheckpointError} if the folder cannot be written.
 */
export async function makeBase(
  config: RunConfig,
  folder: string,
  onProgress: (what: string, done: number, total: number, loss?: number) => void,
  signal?: AbortSignal,
): Promise<Gate> {
  using gpu = await openAdapter(config);
  using student = newStudent(gpu, config.size, config.seed);
  await pretrainStudent(student, config, onProgress, signal);
  const options = { onProgress, ...(signal ? { signal } : {}) };
  const gate = judge(await evaluateStudent(student, config, options));
  const { size, seed, pretrain } = config;
  await saveFolder(folder, {
    ...await studentFiles(student, "BF16"),
    "gate.json": `${JSON.stringify({ ...gate, made: { size, seed, pretrain } }, null, 2)}\n`,
  });
  return gate;
}

/** What is to be known of a new base model. */
export function renderBase(gate: Gate, folder: string): string {
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  return `${renderScores(gate.domains)}\n\n` +
    `On the domains trained on: valid calls ${percent(gate.validity)} (wanted: above 90 %), ` +
    `sampled pass@1 ${percent(gate.pass1)} (wanted: 0.5 to 30 %), greedy ${
      percent(gate.greedy)
    }, tool F1 ${gate.toolF1.toFixed(2)}\n` +
    (gate.passed
      ? `Worth starting from: ./mentor train --from ${folder}`
      : "Not worth starting from yet: raise --pretrain.steps");
}
