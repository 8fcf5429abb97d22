/**
 * Supervised fine-tuning on the teacher's trajectories.
 *
 *   L = - sum_t m_t log p(x_t | x_<t) / sum_t m_t
 *
 * over all tokens of the batch, with m_t = 1 on tokens that the model is to produce (calls and the
 * answer with their stop tokens) and 0 on the prompt and the tools' results.
 *
 * @module
 */

import { nllLoss } from "../ops/policy_loss.ts";
import type { Reference, Task } from "../tasks/task.ts";
import { callTranscript, type ChatFormat, transcript } from "../text/chat_template.ts";
import { resultText } from "../tools/tool.ts";
import type { Learner, Update } from "./learner.ts";
import { activeTokens, type MaskedSequence, packSequences } from "./packing.ts";

/**
 * The conversation in which the model solves a task as the reference does.
 *
 * @throws {TypeError} if the reference calls a tool that the task does not offer.
 */
export function demonstration(
  chat: ChatFormat,
  task: Pick<Task, "id" | "prompt" | "system" | "tools" | "check">,
  reference: Reference,
): MaskedSequence {
  const calls = reference.calls.map(({ name, arguments: args, result }) => {
    const spec = task.tools.find((tool) => tool.name === name);
    if (!spec) {
      throw new TypeError(
        `Cannot show how to solve task "${task.id}": its reference calls "${name}", which is not among its tools`,
      );
    }
    return { spec, args, resultText: resultText(result) };
  });
  const { prompt, tools, system } = task;
  return task.check === "calls" && calls.length > 0
    ? callTranscript(chat, prompt, tools, calls, system)
    : transcript(chat, prompt, tools, calls, reference.answer, system);
}

/** One update on a batch of demonstrations. */
export function sftStep(
  learner: Learner,
  sequences: readonly MaskedSequence[],
  { learningRate, tokenBudget }: { learningRate: number; tokenBudget: number },
): Update {
  const batches = packSequences(sequences, tokenBudget);
  const total = activeTokens(sequences);
  return learner.update(batches, (tape, statistics, { targets }, sums) => {
    const weight = new Float32Array(targets.length).fill(1 / total);
    nllLoss(tape, statistics, tape.upload(weight, "weight"), sums);
  }, { learningRate });
}
