/**
 * Mentor teaches small language models to use tools, on whatever GPU is at hand.
 *
 * @example
 * ```ts ignore
 * import { train } from "./mod.ts";
 * const { domains, model } = await train({ steps: 80, seed: 1 });
 * ```
 * @module
 */

import { readFolder, saveFolder } from "./src/io/checkpoint.ts";
import { useFolder } from "./src/io/folder.ts";

useFolder({ read: readFolder, write: saveFolder });

export { Gpu } from "./src/gpu/device.ts";
export type { GpuInfo, GpuOptions } from "./src/gpu/device.ts";
export {
  DeviceLostError,
  GpuUnavailableError,
  GpuValidationError,
  OutOfMemoryError,
  ShaderCompileError,
} from "./src/gpu/errors.ts";
export type { MemoryReport } from "./src/gpu/memory.ts";
export { CheckpointError } from "./src/io/checkpoint.ts";
export type { DecoderConfig } from "./src/model/config.ts";
export { Decoder } from "./src/model/decoder.ts";
export { generate } from "./src/model/generate.ts";
export type { Generated, GenerateOptions } from "./src/model/generate.ts";
export { nllGradients } from "./src/model/nll.ts";
export type { Evaluation, EvaluationRow, Scores } from "./src/rl/evaluate.ts";
export { DivergedError } from "./src/rl/learner.ts";
export { mentorReward, needsReference, REWARD_PRESETS } from "./src/rl/reward.ts";
export type {
  Episode,
  Reward,
  RewardOptions,
  RewardPreset,
  RewardResult,
  RewardTerms,
  ScoreContext,
  ToolAttempt,
} from "./src/rl/reward.ts";
export { ConfigError } from "./src/run/config.ts";
export type { RunConfig } from "./src/run/config.ts";
export { evaluate } from "./src/run/evaluate.ts";
export type { EvaluateOptions } from "./src/run/evaluate.ts";
export type { RunEvent } from "./src/run/events.ts";
export { train } from "./src/run/train.ts";
export type { DomainResult, RunResult, TrainOptions } from "./src/run/train.ts";
export { parseGsm8k } from "./src/tasks/gsm8k.ts";
export { formatTasks, parseTasks } from "./src/tasks/jsonl.ts";
export { checkAnswer, TaskFormatError } from "./src/tasks/task.ts";
export type { Reference, ReferenceCall, Split, Task } from "./src/tasks/task.ts";
export { compactChat } from "./src/text/chat_template.ts";
export type { ChatFormat } from "./src/text/chat_template.ts";
export { Tokenizer } from "./src/text/tokenizer.ts";
export { calculator } from "./src/tools/calculator.ts";
export { callTool, tool } from "./src/tools/tool.ts";
export type { Tool, ToolContext, ToolOutcome } from "./src/tools/tool.ts";
