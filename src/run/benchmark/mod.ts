/**
 * Measuring a model on a public benchmark, as the benchmark does it: one answer to each question,
 * the likeliest token at every place.
 *
 * @module
 */

import type { Decoder } from "../../model/decoder.ts";
import { Generator } from "../../model/generator.ts";
import { type Rollout, rollout } from "../../rl/rollout.ts";
import { wilsonInterval } from "../../rl/statistics.ts";
import { bfclError, errorType } from "../../tasks/bfcl/matching.ts";
import { parsedAnswer } from "../../tasks/call_match.ts";
import { lastNumber, type Task } from "../../tasks/task.ts";
import type { ChatFormat } from "../../text/chat_template.ts";
import { type BenchmarkSet, readBenchmark } from "./files.ts";
import { ConfigError, resolveConfig, type RunConfig, valueAt } from "../config/mod.ts";
import { type EvaluateOptions, withStudent } from "../evaluate.ts";
import type { Profile } from "../profile.ts";
import type { Student } from "../student.ts";
import { checkContext } from "../tasks/source.ts";

/** Which benchmark, and where it is. */
export interface Benchmark {
  /** `gsm8k`, `gsm8k:no-tools`, `bfcl:CATEGORY`, or `bfcl` for every category that is there. */
  readonly name: string;
  /** The folder with its files. */
  readonly data: string;
}

/** What a model got right of a benchmark, or of one of its categories. */
export interface BenchmarkRow {
  /** As in {@linkcode Benchmark}. */
  readonly name: string;
  /** Questions asked. */
  readonly tasks: number;
  /** Share of right answers. */
  readonly greedy: number;
  /** 95 % interval of it. */
  readonly ci95: readonly [number, number];
  /** Calls per question. */
  readonly calls: number;
  /** Wrong answers by what is wrong with them; in the words of the benchmark where it has some. */
  readonly errors: Readonly<Record<string, number>>;
  /** Questions of the file that were not asked. */
  readonly leftOut: number;
}

/** What {@linkcode evaluateBenchmark} found. */
export interface BenchmarkResult {
  /** One per category. */
  readonly domains: readonly BenchmarkRow[];
  /** Where the time went, if that was asked for. */
  readonly profile?: Profile;
}

/** GSM8K's own solutions make up to 12 calls, 9 % of them more than a run's default of 6. */
const MAX_CALLS = 32;

/** What the keys and values of all slots may take; a slot holds the longest prompt. */
const CACHE_BYTES = 2 ** 30;

/**
 * Evaluates the model of `config.from` on a public benchmark.
 *
 * @throws {ConfigError} if the config is not usable, there is no such benchmark, or a file of it is
 * missing.
 * @throws {TaskFormatError} naming file and line of a malformed question.
 * @throws {CheckpointError} if the model cannot be read.
 * @throws {GpuUnavailableError} if no adapter will do.
 */
export async function evaluateBenchmark(
  { name, data }: Benchmark,
  input: Readonly<Record<string, unknown>> = {},
  options: EvaluateOptions = {},
): Promise<BenchmarkResult> {
  const given = resolveConfig({ flags: input });
  const other = (["tasks", "tools"] as const).find((name) => given[name] !== null);
  if (other !== undefined) {
    throw new ConfigError(
      `Cannot evaluate on ${name} with --${other} ${
        given[other]
      }: a benchmark has its own. Leave it out`,
    );
  }
  const maxCalls = valueAt(input, "rollout.maxCalls") === undefined
    ? MAX_CALLS
    : given.rollout.maxCalls;
  const config = { ...given, rollout: { ...given.rollout, maxCalls } };
  const sets = await readBenchmark(name, data, config.limit);
  return await withStudent(config, options, async (student) => {
    // Whatever cannot be asked is told before hours are spent on the rest.
    const ready = sets.map((set) => prepare(student, config, set));
    const domains: BenchmarkRow[] = [];
    for (const each of ready) domains.push(await measure(student, config, each, options));
    return { domains };
  });
}

/** What of a set can be asked. */
interface Prepared extends BenchmarkSet {
  /** Those of the tasks whose prompts fit the context. */
  readonly asked: readonly Task[];
  /** The context. */
  readonly maxTokens: number;
}

function prepare({ model, chat }: Student, config: RunConfig, set: BenchmarkSet): Prepared {
  const { name, tasks, room } = set;
  if (tasks.length === 0) {
    throw new ConfigError(`Cannot evaluate on ${name}: its file has no question of a single turn`);
  }
  const context = model.config.maxPositions;
  checkContext(config.rollout.maxTokens, context);
  const lengths = tasks.map(({ prompt, tools, system }) =>
    chat.promptIds(prompt, tools, system).length
  );
  const longest = Math.max(...lengths);
  const maxTokens = config.rollout.maxTokens ?? Math.min(context, longest + room);
  const asked = tasks.filter((_, i) => lengths[i]! + 1 < maxTokens);
  if (asked.length > 0) return { ...set, asked, maxTokens };
  throw new ConfigError(
    `Cannot evaluate on ${name}: its shortest prompt has ${Math.min(...lengths)} tokens, and the ` +
      `context is ${maxTokens}` + (maxTokens < context ? "; raise rollout.maxTokens" : ""),
  );
}

async function measure(
  { model, chat }: Student,
  { rollout: { maxCalls, slots: most, stepsPerRead } }: RunConfig,
  { name, tasks, asked, maxTokens, leftOut }: Prepared,
  { onProgress, signal }: EvaluateOptions,
): Promise<BenchmarkRow> {
  const slots = Math.min(most, asked.length, slotsThatFit(model, maxTokens));
  using generator = new Generator(model, {
    ...{ slots, stepsPerRead, stops: chat.stops },
    length: maxTokens,
  });
  let done = 0;
  const rollouts = await rollout(generator, chat, asked, 1, {
    ...{ temperature: 0, topK: 0, topP: 1, seed: 0, stream: "benchmark" },
    ...{ maxTokens, maxCalls },
    ...(signal ? { signal } : {}),
    onEpisode: () => onProgress?.(name, ++done, asked.length),
  });
  signal?.throwIfAborted();
  const episodes = rollouts.flat();
  const errors: Record<string, number> = {};
  const count = (error: string, times = 1) => errors[error] = (errors[error] ?? 0) + times;
  // The benchmark asks these, too: they are wrong answers like others.
  if (asked.length < tasks.length) count("prompt_too_long", tasks.length - asked.length);
  for (const episode of episodes) {
    const error = errorOf(episode, chat, name.replace("bfcl:", ""));
    if (error !== null) count(error);
  }
  const wrong = Object.values(errors).reduce((sum, times) => sum + times, 0);
  const { mean, low, high } = wilsonInterval(tasks.length - wrong, tasks.length);
  const calls = episodes.reduce((sum, { episode }) => sum + episode.attempts.length, 0);
  return {
    ...{ name, tasks: tasks.length, leftOut },
    ...{ greedy: mean, ci95: [low, high] as const, calls: calls / tasks.length },
    errors: Object.fromEntries(Object.entries(errors).sort(([, a], [, b]) => b - a)),
  };
}

/** Keys and values in f32 of one layer have to fit a binding, those of all what they may take. */
function slotsThatFit({ gpu, config }: Decoder, length: number): number {
  const slotBytes = length * config.kvHeads * config.headDim * 4;
  const binding = gpu.info.limits["maxStorageBufferBindingSize"]!;
  const most = Math.min(binding / slotBytes, CACHE_BYTES / (2 * config.layers * slotBytes));
  return Math.max(1, Math.floor(most));
}

/** What is wrong with an answer; null if it is right. */
function errorOf(
  { task, episode, ids, mask, cut }: Rollout,
  chat: ChatFormat,
  category: string,
): string | null {
  if (task.check !== "calls") {
    if (episode.correct) return null;
    if (cut !== undefined) return `unfinished: ${cut}`;
    return lastNumber(episode.answer ?? "") === null ? "no number" : "wrong number";
  }
  // The benchmark reads what there is of a turn that found no end.
  const answer = episode.answer ?? callsOf(chat, ids.slice(mask.indexOf(1)), task);
  const error = bfclError(answer, task.expected, task.tools);
  if (error === null) return null;
  // Who wants calls and gets none can't read the answer at all.
  if (answer === "[]" && task.expected !== undefined) return "ast_decoder:decoder_failed";
  return errorType(error, category);
}

function callsOf(chat: ChatFormat, turn: Uint32Array, { tools }: Task): string {
  const { calls } = chat.readTurn(turn, tools);
  return parsedAnswer(calls.filter(({ status }) => status !== "malformed"));
}
