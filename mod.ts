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

import { disk } from "./src/io/disk.ts";
import { useFolder } from "./src/io/folder.ts";

useFolder(disk);

export { Gpu } from "./src/gpu/device.ts";
export type { GpuInfo, GpuOptions } from "./src/gpu/device.ts";
export type { KernelName, Specialisation } from "./src/gpu/kernels.ts";
export type { GpuSpan, ProfileDetail } from "./src/gpu/profiler.ts";
export type { Bindable, BufferRange, RecorderStats } from "./src/gpu/recorder.ts";
export type { ReadBack, ReadRequest } from "./src/gpu/transfer.ts";
export type { MatmulTile, Tuning } from "./src/gpu/tuning.ts";
export {
  DeviceLostError,
  GpuUnavailableError,
  GpuValidationError,
  OutOfMemoryError,
  ShaderCompileError,
} from "./src/gpu/errors.ts";
export type { MemoryReport, Owner } from "./src/gpu/memory.ts";
export { CheckpointError } from "./src/io/checkpoint.ts";
export { HubError, hubFolder, resolveModel } from "./src/io/hub.ts";
export type { HubOptions, HubProgress } from "./src/io/hub.ts";
export type { HubFault } from "./src/io/hub_client.ts";
export type { StoredTensor, TensorDtype } from "./src/io/safetensors.ts";
export type { DecoderConfig, FamilyName } from "./src/model/config.ts";
export { Decoder } from "./src/model/decoder.ts";
export type { Attend, LoadOptions } from "./src/model/decoder.ts";
export { fromHuggingFace } from "./src/model/families.ts";
export type { Json } from "./src/model/families.ts";
export { defaultLora, loraFromPeft, loraToPeft } from "./src/model/lora_config.ts";
export type { LoraConfig } from "./src/model/lora_config.ts";
export { Adapters } from "./src/model/lora.ts";
export type { AdapterFiles } from "./src/model/lora.ts";
export type { RopeConfig, RopeScaling } from "./src/model/rope_frequencies.ts";
export type { LogitLimits } from "./src/ops/lm_head.ts";
export type { Adaptation, Dropout, LowRank, RowBlock } from "./src/ops/lora.ts";
export type { WeightStorage } from "./src/model/weights.ts";
export { generate } from "./src/model/generate.ts";
export type { Generated, GenerateOptions } from "./src/model/generate.ts";
export { nllGradients } from "./src/model/nll.ts";
export type { PackedBatch, PredictedTokens } from "./src/model/nll.ts";
export { ValueHead } from "./src/model/value_head.ts";
export type { TokenStatistics } from "./src/ops/lm_head.ts";
export { MetricSums } from "./src/ops/metric_sums.ts";
export { AdamW } from "./src/optim/adamw.ts";
export type { AdamWOptions, Moments } from "./src/optim/adamw.ts";
export { distillUpdate } from "./src/rl/distill.ts";
export type { DistillOptions } from "./src/rl/distill.ts";
export { dpoUpdate, preferencePairs, withReference } from "./src/rl/dpo.ts";
export type { DpoOptions, Preference, PreferencePair } from "./src/rl/dpo.ts";
export type { Evaluation, EvaluationRow, Scores } from "./src/rl/evaluate.ts";
export type { Interval } from "./src/rl/statistics.ts";
export { alignArguments, ALIGNMENT_OPERATORS, alignTools, CALL_KEYS } from "./src/rl/alignment.ts";
export type { AlignmentOperator, AlignmentOptions, CallKey } from "./src/rl/alignment.ts";
export type { StringComparison } from "./src/rl/arguments.ts";
export type { CreditedRollout, Potential, ScoredRollout } from "./src/rl/experience.ts";
export {
  costSchedule,
  mentorReward,
  needsReference,
  replay,
  REWARD_PRESETS,
  rewardOf,
} from "./src/rl/reward.ts";
export { DivergedError, Learner } from "./src/rl/learner.ts";
export type { LearnerOptions, Loss, Update, UpdateMetrics } from "./src/rl/learner.ts";
export { likelihoodScores } from "./src/rl/likelihood.ts";
export type { LikelihoodOptions, LikelihoodScore } from "./src/rl/likelihood.ts";
export type { MaskedSequence, MicroBatch } from "./src/rl/packing.ts";
export { ppoDefaults, ppoUpdate } from "./src/rl/ppo.ts";
export type { PpoContext, PpoOptions, PpoOutcome, PpoSample } from "./src/rl/ppo.ts";
export type {
  AttemptStatus,
  Episode,
  Reward,
  RewardOptions,
  RewardPreset,
  RewardResult,
  RewardTerms,
  RewardWeights,
  Schedule,
  ScoreContext,
  ScoredTool,
  ToolAttempt,
} from "./src/rl/reward.ts";
export type { Rollout } from "./src/rl/rollout.ts";
export { scoreTokens } from "./src/rl/score_tokens.ts";
export type { ScoreOptions, TokenScores } from "./src/rl/score_tokens.ts";
export { ConfigError } from "./src/run/config/mod.ts";
export type { DomainName, MethodName, RewardName, RunConfig } from "./src/run/config/mod.ts";
export { compare } from "./src/run/compare/mod.ts";
export type { CompareOptions, CompareResult } from "./src/run/compare/mod.ts";
export { evaluateBenchmark } from "./src/run/benchmark/mod.ts";
export type { Benchmark, BenchmarkResult, BenchmarkRow } from "./src/run/benchmark/mod.ts";
export { evaluate } from "./src/run/evaluate.ts";
export type { DomainResult, EvaluateOptions, EvaluationResult } from "./src/run/evaluate.ts";
export type {
  CheckpointEvent,
  DomainScore,
  EvalEvent,
  EventListener,
  PausedEvent,
  ResumedEvent,
  RunEndEvent,
  RunEvent,
  RunEventBody,
  RunStartEvent,
  StepEvent,
  Timing,
  WarningEvent,
} from "./src/run/events.ts";
export type { KernelTime, PhaseTime, Profile } from "./src/run/profile.ts";
export { exportModel } from "./src/run/export.ts";
export type { Exported } from "./src/run/export.ts";
export type { OnProgress } from "./src/run/student.ts";
export { plan } from "./src/run/plan/mod.ts";
export type {
  ArmMeasures,
  BaseGate,
  Comparison,
  ComparisonArm,
  ComparisonDifference,
  ComparisonRun,
  ComparisonSummary,
  CurvePoint,
  DomainMeasures,
  FailedRun,
  Hypothesis,
  Scope,
} from "./src/run/report/comparison.ts";
export type { Plan } from "./src/run/plan/mod.ts";
export { TeacherError } from "./src/run/teach/endpoint.ts";
export { teach } from "./src/run/teach/mod.ts";
export type { TeachHalt, TeachOptions, TeachResult } from "./src/run/teach/mod.ts";
export { train } from "./src/run/train.ts";
export type { RunResult, TrainOptions } from "./src/run/train.ts";
export { bfclCategories, parseBfcl } from "./src/tasks/bfcl/read.ts";
export type { BfclCategory, BfclFiles, BfclTasks, NamedText } from "./src/tasks/bfcl/read.ts";
export { parseGsm8k } from "./src/tasks/formats/gsm8k.ts";
export type { Gsm8kOptions, Gsm8kReport } from "./src/tasks/formats/gsm8k.ts";
export type { RowCounts } from "./src/tasks/formats/reader.ts";
export { callsAnswer } from "./src/tasks/call_match.ts";
export type { ExpectedCall, MadeCall } from "./src/tasks/call_match.ts";
export { formatTasks, parseTasks } from "./src/tasks/jsonl.ts";
export type { ParseTasksOptions } from "./src/tasks/jsonl.ts";
export {
  checkAnswer,
  checks,
  MissingReferenceError,
  splits,
  TaskFormatError,
} from "./src/tasks/task.ts";
export type {
  Check,
  CheckedTask,
  Reference,
  ReferenceCall,
  Split,
  Task,
  TaskOrigin,
} from "./src/tasks/task.ts";
export { detectToolFormat, toolFormats } from "./src/text/calls/mod.ts";
export type {
  CallText,
  PlannedCall,
  ToolCallFormat,
  ToolFormatName,
  ToolResult,
} from "./src/text/calls/mod.ts";
export { callTranscript, compactChat, transcript } from "./src/text/chat_template.ts";
export type { ChatFormat, Transcript, TranscriptCall, Turn } from "./src/text/chat_template.ts";
export type { Message, MessageCall } from "./src/text/conversation.ts";
export type { Beginning } from "./src/text/marks.ts";
export type { TurnPiece, TurnStream } from "./src/text/turn_stream.ts";
export { ChatTemplate, ChatTemplateError } from "./src/text/jinja_template.ts";
export type { ChatInput, ChatMessage } from "./src/text/jinja_template.ts";
export { templateChat } from "./src/text/template_chat.ts";
export type { TemplateChatOptions } from "./src/text/template_chat.ts";
export type { CallStatus, JsonSchema, ParsedCall, ToolSpec } from "./src/text/tool_call.ts";
export type { DecodeStream } from "./src/text/decode_stream.ts";
export { Tokenizer } from "./src/text/tokenizer.ts";
export type { DecodeOptions } from "./src/text/tokenizer.ts";
export type { RopeTable } from "./src/ops/rope.ts";
export { Tape } from "./src/tape.ts";
export { Parameter, Tensor, Weight } from "./src/tensor.ts";
export type { DType, FloatType } from "./src/tensor.ts";
export { calculator } from "./src/tools/calculator.ts";
export type { Calculator } from "./src/tools/calculator.ts";
export { dateTools } from "./src/tools/dates.ts";
export { retrievalTool } from "./src/tools/retrieval.ts";
export type { Passage, RetrievalOptions } from "./src/tools/retrieval.ts";
export { tableTools } from "./src/tools/table.ts";
export { openJavascriptSandbox } from "./src/tools/sandbox/javascript.ts";
export { openPythonSandbox } from "./src/tools/sandbox/python.ts";
export type {
  Sandbox,
  SandboxCall,
  SandboxLimits,
  SandboxResult,
  SandboxStatus,
} from "./src/tools/sandbox/sandbox.ts";
export { openJavascript, openPython } from "./src/tools/sandbox/tools.ts";
export type { SandboxTool, SandboxToolOptions } from "./src/tools/sandbox/tools.ts";
export { callTool, declaredTool, tool, ToolUnavailableError } from "./src/tools/tool.ts";
export type { Tool, ToolContext, ToolOptions, ToolOutcome } from "./src/tools/tool.ts";
export { unitTools } from "./src/tools/units.ts";
