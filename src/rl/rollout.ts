/**
 * Episodes: the student explores with real, executed tools.
 *
 * Tokens in, tokens out: an episode is the concatenation of the prompt, what the model sampled and
 * what the tools answered; nothing that was sampled is ever decoded and encoded again. The mask is
 * 1 exactly on sampled tokens, and this file is the only place that sets it.
 *
 * @module
 */

import type { Generator } from "../model/generator.ts";
import type { SamplingOptions } from "../ops/sample.ts";
import { hashText } from "../random.ts";
import { parsedAnswer } from "../tasks/call_match.ts";
import { checkAnswer, type Task } from "../tasks/task.ts";
import type { ToolResult } from "../text/calls/mod.ts";
import type { ChatFormat, Turn } from "../text/chat_template.ts";
import type { ParsedCall } from "../text/tool_call.ts";
import { type EpisodeContext, episodeContext, runCall } from "../tools/run_call.ts";
import { callIdentity, type Episode, type ToolAttempt } from "./episode.ts";

/** One episode with what training needs of it. */
export interface Rollout {
  /** What was to be done. */
  readonly task: Task;
  /** What was done, as rewards see it. */
  readonly episode: Episode;
  /** [T] prompt, turns and results. */
  readonly ids: Uint32Array;
  /** [T] 1 where the model sampled the token. */
  readonly mask: Uint8Array;
  /** [T] log p of the sampled tokens under the policy that sampled them, 0 elsewhere. */
  readonly logprobs: Float32Array;
  /**
   * What ended an episode that did not finish: no room, calls without end, the same call again, or a
   * tool that could not be had.
   */
  readonly cut?: "context" | "calls" | "loop" | "tool";
  /** Why a tool could not be had, where that makes the episode unscorable. */
  readonly unavailable?: string;
}

/** Whether the context cut an episode short, as it did where nobody says what ended it unfinished. */
export function isTruncated(
  { episode, cut = "context" }: Pick<Rollout, "episode" | "cut">,
): boolean {
  return !episode.finished && cut === "context";
}

/** Limits of an episode and how its tokens are drawn. */
export interface RolloutOptions extends SamplingOptions {
  /** Longest episode in tokens, prompt and results included. */
  readonly maxTokens: number;
  /** Tool calls per episode; one more ends it unfinished. */
  readonly maxCalls: number;
  /** Names the random streams together with the task and the sample's number. */
  readonly stream: string;
  readonly signal?: AbortSignal;
  /** Called with each episode once it has ended, best while the GPU is at work on others. */
  readonly onEpisode?: (one: Rollout) => void;
}

/** This many times the same call with the same result in a row is a loop. */
const LOOP = 3;

/**
 * Runs `samples` episodes of each task.
 *
 * @returns [tasks, samples], in order; equal options give equal episodes, whatever the batching
 * @throws {RangeError} if a prompt does not fit into `maxTokens`, naming the task.
 * @throws {ToolUnavailableError} if a tool is gone for good.
 */
export async function rollout(
  generator: Generator,
  chat: ChatFormat,
  tasks: readonly Task[],
  samples: number,
  options: RolloutOptions,
): Promise<Rollout[][]> {
  const recorders = tasks.map((task) => {
    const prompt = chat.promptIds(task.prompt, task.tools, task.system);
    if (prompt.length + 1 >= options.maxTokens) {
      throw new RangeError(
        `Cannot roll out task "${task.id}": its prompt has ${prompt.length} tokens, the context is ` +
          `${options.maxTokens}; raise rollout.maxTokens or leave the task out`,
      );
    }
    return Array.from({ length: samples }, () => new Recorder(task, prompt, chat, options));
  });
  await generator.run(
    recorders.flatMap((group, i) =>
      group.map((recorder, sample) => ({
        prompt: recorder.prompt,
        stream: hashText(`${options.stream}/${tasks[i]!.id}/${i}/${sample}`),
        limit: options.maxTokens,
        onTurn: (turn) => recorder.onTurn(turn),
        onEnd: () => options.onEpisode?.(recorder.finish()),
      }))
    ),
    options,
  );
  return recorders.map((group) => group.map((recorder) => recorder.finish()));
}

/** Gathers one episode turn by turn. */
class Recorder {
  readonly prompt: Uint32Array;
  readonly #task: Task;
  readonly #chat: ChatFormat;
  readonly #options: RolloutOptions;
  readonly #ids: number[];
  readonly #mask: number[];
  readonly #logprobs: number[];
  readonly #attempts: ToolAttempt[] = [];
  readonly #turns: { wellFormed: boolean }[] = [];
  #answer: string | null = null;
  /** Null once it has finished. */
  #cut: Rollout["cut"] | null = "context";
  #unavailable: string | null = null;
  /** Made for the first call, since many episodes have none. */
  #context: EpisodeContext | null = null;
  #sampled = 0;
  #finished: Rollout | null = null;
  #lastCall = "";
  #inARow = 0;

  constructor(task: Task, prompt: Uint32Array, chat: ChatFormat, options: RolloutOptions) {
    this.prompt = prompt;
    this.#task = task;
    this.#chat = chat;
    this.#options = options;
    this.#ids = [...prompt];
    this.#mask = Array(prompt.length).fill(0);
    this.#logprobs = Array(prompt.length).fill(0);
  }

  /** Takes a turn of the model; returns the tokens of the tools' results, or null at the end. */
  async onTurn(
    { tokens, logprobs, reason }: {
      tokens: readonly number[];
      logprobs: readonly number[];
      reason: "stop" | "length";
    },
  ): Promise<Uint32Array | null> {
    this.#options.signal?.throwIfAborted();
    this.#append(tokens, 1, logprobs);
    this.#sampled += tokens.length;
    if (tokens.length === 0) return null; // the result did not fit: the episode stays unfinished
    const turn = this.#chat.readTurn(tokens, this.#task.tools);
    this.#turns.push({ wellFormed: reason === "stop" && turn.wellFormed });
    if (reason === "length") return null;
    if (this.#task.check === "calls") return this.#endWithCalls(turn);
    if (turn.kind !== "call") {
      this.#cut = null;
      if (turn.kind === "answer") this.#answer = turn.content;
      return null;
    }
    const results: ToolResult[] = [];
    for (const call of turn.calls.length > 0 ? turn.calls : [null]) {
      const text = await this.#call(call);
      if (this.#unavailable !== null) return this.#end("tool");
      if (this.#attempts.length > this.#options.maxCalls) return this.#end("calls");
      if (this.#inARow >= LOOP) return this.#end("loop");
      results.push({ name: call?.name ?? "", text });
    }
    const result = this.#chat.resultIds(results);
    this.#append(result, 0);
    return result;
  }

  #end(cut: Rollout["cut"]): null {
    this.#cut = cut;
    return null;
  }

  /** The first turn is the whole solution; one that cannot be read calls nothing. */
  #endWithCalls({ calls }: Turn): null {
    const turn = this.#turns.length - 1;
    for (const { name, arguments: args, status } of calls) {
      this.#attempts.push({ name, arguments: args, turn, status });
    }
    this.#answer = parsedAnswer(calls);
    this.#cut = null;
    return null;
  }

  #append(tokens: ArrayLike<number>, mask: 0 | 1, logprobs?: readonly number[]): void {
    for (let i = 0; i < tokens.length; i++) {
      this.#ids.push(tokens[i]!);
      this.#mask.push(mask);
      this.#logprobs.push(logprobs?.[i] ?? 0);
    }
  }

  async #call(call: ParsedCall | null): Promise<string> {
    const attempt: ToolAttempt = {
      name: call?.name ?? "",
      arguments: call?.arguments ?? null,
      turn: this.#turns.length - 1,
      status: "malformed",
    };
    this.#attempts.push(attempt);
    const { tools, world } = this.#task;
    const { signal } = this.#options;
    this.#context ??= episodeContext(world);
    const context = { ...this.#context, ...(signal ? { signal } : {}) };
    const { unavailable, ...outcome } = await runCall(call, tools, context);
    attempt.status = outcome.status;
    if (unavailable?.permanent) throw unavailable;
    if (unavailable) this.#unavailable = unavailable.message;
    if (outcome.status === "ok") attempt.result = outcome.result;
    // What can't be read at all may be anything: no two of them are the same call.
    if (call === null) return outcome.text;
    const identity = `${callIdentity(attempt.name, attempt.arguments)} ${outcome.text}`;
    this.#inARow = identity === this.#lastCall ? this.#inARow + 1 : 1;
    this.#lastCall = identity;
    return outcome.text;
  }

  /** The episode, which has ended. */
  finish(): Rollout {
    return this.#finished ??= this.#finish();
  }

  #finish(): Rollout {
    // A result that ended the episode, or did not fit, was never seen by the model.
    const length = this.#mask.lastIndexOf(1) + 1 || this.prompt.length;
    for (const column of [this.#ids, this.#mask, this.#logprobs]) column.length = length;
    return {
      task: this.#task,
      episode: {
        attempts: this.#attempts,
        answer: this.#answer,
        correct: checkAnswer(this.#task, this.#answer),
        finished: this.#cut === null,
        turns: this.#turns,
        tokens: this.#sampled,
        maxTokens: this.#options.maxTokens - this.prompt.length,
        ...(this.#unavailable === null ? {} : { unscorable: true }),
      },
      ids: Uint32Array.from(this.#ids),
      mask: Uint8Array.from(this.#mask),
      logprobs: Float32Array.from(this.#logprobs),
      ...(this.#cut === null ? {} : { cut: this.#cut }),
      ...(this.#unavailable === null ? {} : { unavailable: this.#unavailable }),
    };
  }
}
