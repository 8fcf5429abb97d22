/**
 * Continuous batching: many sequences share a fixed number of slots, and the host looks at the
 * GPU only once per several decoded tokens.
 *
 * What is sampled does not depend on the batch, the slot or the order of events. A sequence whose
 * tool is still at work gives its slot to one that waits, and comes back by feeding its history.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { turnEventLoop } from "../gpu/event_loop.ts";
import { checkSampling, type SamplingOptions } from "../ops/sample.ts";
import {
  DecodeSlots,
  type FedToken,
  MAX_LIKELIEST,
  PREFILL_ROWS,
  type SampledToken,
} from "./decode_slots.ts";
import type { Decoder } from "./decoder.ts";
import type { Fork } from "./kv_cache.ts";
import { type QueuedSequence, type Sequence, SequenceQueue } from "./sequence.ts";

export type { GeneratedTurn, Sequence } from "./sequence.ts";

/** Shape of a generator. */
export interface GeneratorOptions {
  /** Sequences at a time. */
  readonly slots: number;
  /** Positions per slot: the longest sequence. */
  readonly length: number;
  /** Tokens decoded per look of the host. */
  readonly stepsPerRead?: number;
  /**
   * Rounds of decode steps in flight: with two the GPU works on one while the host looks at the other,
   * and what has ended idles in it. The adapter's tuning where absent.
   */
  readonly roundsInFlight?: number;
  /** Tokens that end a turn. */
  readonly stops: readonly [number, number];
}

/** Turns that the event loop gets after each round while a queue is open. */
const OPEN_TURNS = 3;

/** Steps of promises within which a tool that waits for nothing has answered. */
const PROMPT_ANSWER = 64;

/** A sequence that was begun. */
interface Running extends QueuedSequence {
  /** Where it is; null while another sequence has its slot. */
  slot: number | null;
  /** Everything fed and sampled. */
  readonly history: number[];
  /** Positions of the history that the slot's cache holds, or will once the step is done. */
  cached: number;
  /** Steps under way that may draw a token for it. */
  underWay: number;
  /** Whether the GPU draws tokens for it, as far as the host knows; else the host is at its turn. */
  decoding: boolean;
  /** Whether it has ended, though steps may be under way. */
  ended: boolean;
  /** The current turn. */
  tokens: number[];
  logprobs: number[];
}

/** Decode steps under way, and for whom. */
interface RunningRound {
  /** Waits for the tokens, in the order of drawing. */
  take(): Promise<{ run: Running; sampled: SampledToken }[]>;
}

/** Generates sequences with one model; keeps its KV cache between calls. */
export class Generator implements Disposable {
  readonly #gpu: Gpu;
  readonly #model: Decoder;
  readonly #slots: DecodeSlots;
  readonly #length: number;
  readonly #roundsInFlight: number;
  readonly #stepsPerRead: number;
  readonly #stops: readonly [number, number];
  #busy = false;

  /**
   * @throws {RangeError} if a size is not a positive integer, or the length exceeds the context.
   */
  constructor(model: Decoder, options: GeneratorOptions) {
    this.#gpu = model.gpu;
    const { slots, length, stepsPerRead = 6, stops } = options;
    const { roundsInFlight = this.#gpu.tuning.roundsInFlight } = options;
    for (const [name, size] of Object.entries({ slots, length, stepsPerRead, roundsInFlight })) {
      if (!Number.isInteger(size) || size < 1) {
        throw new RangeError(
          `Cannot make a generator: ${name} is ${size}, it must be a positive integer`,
        );
      }
    }
    if (length > model.config.maxPositions) {
      throw new RangeError(
        `Cannot generate ${length} tokens: the model's context is ${model.config.maxPositions}`,
      );
    }
    this.#model = model;
    this.#length = length;
    this.#roundsInFlight = roundsInFlight;
    this.#stepsPerRead = stepsPerRead;
    this.#stops = stops;
    this.#slots = new DecodeSlots(model, slots, length, stepsPerRead, stops);
  }

  /** A queue for {@linkcode Generator.serve}. */
  queue(): SequenceQueue {
    return new SequenceQueue((queued) => this.#check(queued));
  }

  /**
   * Runs every sequence to its end. After an error the generator can be used again.
   *
   * @throws {RangeError} if a prompt is empty or does not fit its limit or the slots, if a token is
   * not in the vocabulary, or if the model's logits are not finite.
   * @throws {TypeError} if a run is under way.
   */
  async run(sequences: readonly Sequence[], sampling: SamplingOptions): Promise<void> {
    const queue = this.queue();
    for (const sequence of sequences) queue.push(sequence, sampling);
    queue.close();
    await this.serve(queue);
  }

  /**
   * Runs the sequences of a queue as they come, until it is closed and all have ended. After an
   * error the generator can be used again.
   *
   * @param queue one of this generator's
   * @throws {RangeError} if the model's logits are not finite, or a token that is fed is not in the
   * vocabulary.
   * @throws {TypeError} if a run is under way.
   */
  async serve(queue: SequenceQueue): Promise<void> {
    if (this.#busy) {
      throw new TypeError(
        "Cannot generate: the generator is already running; await it, or make another one",
      );
    }
    const rounds: RunningRound[] = [];
    this.#busy = true;
    try {
      await this.#serve(queue, rounds);
    } catch (error) {
      this.#gpu.discard(); // half a step may be recorded, and name buffers that are freed next
      throw error;
    } finally {
      await Promise.allSettled(rounds.map((round) => round.take()));
      this.#busy = false;
    }
  }

  #check({ sequence, sampling }: QueuedSequence): void {
    const { prompt, limit, likeliest = 0 } = sequence;
    const length = this.#length;
    this.#checkTokens(prompt);
    if (prompt.length === 0 || prompt.length >= limit || limit > length) {
      throw new RangeError(
        `Cannot generate: a prompt of ${prompt.length} tokens needs a limit above it and up to ` +
          `${length}, got ${limit}; shorten the prompt or raise the context`,
      );
    }
    const most = Math.min(MAX_LIKELIEST, this.#model.config.vocabSize);
    if (!Number.isInteger(likeliest) || likeliest < 0 || likeliest > most) {
      throw new RangeError(
        `Cannot generate: likeliest is ${likeliest}, it must be an integer from 0 to ${most}`,
      );
    }
    checkSampling(sampling);
  }

  #checkTokens(tokens: Uint32Array): void {
    const { vocabSize } = this.#model.config;
    const wrong = tokens.find((token) => token >= vocabSize);
    if (wrong !== undefined) {
      throw new RangeError(
        `Cannot generate: token ${wrong} is not in the vocabulary of ${vocabSize} tokens`,
      );
    }
  }

  /** @param rounds read-backs under way; those left after an error are the caller's to await */
  async #serve(queue: SequenceQueue, rounds: RunningRound[]): Promise<void> {
    const slots = this.#slots;
    slots.clear();
    const running: (Running | null)[] = Array(slots.count).fill(null);
    const prompts = new Map<string, number>(); // prompt -> slot that still holds it
    const replied: Running[] = []; // onTurn has answered, with what is now the end of the history
    const turns = new Set<Promise<void>>(); // calls of onTurn under way
    const ended: Sequence[] = []; // their onEnd is due
    let failure: unknown = null;

    const end = (run: Running) => {
      run.ended = true;
      run.decoding = false;
      if (run.slot !== null) running[run.slot] = null;
      run.slot = null;
    };
    const endTurn = (run: Running, reason: "stop" | "length") => {
      run.decoding = false;
      const turn = { tokens: run.tokens, logprobs: run.logprobs, reason };
      run.tokens = [];
      run.logprobs = [];
      const answered = (async () => {
        const next = await run.sequence.onTurn(turn);
        if (run.ended) return;
        if (next) this.#checkTokens(next);
        // One more token than is fed must fit, or there is nothing left to sample.
        const fits = next !== null && run.history.length + next.length < run.sequence.limit;
        if (fits && reason === "stop") {
          run.history.push(...next);
          replied.push(run);
          return;
        }
        end(run);
        if (next !== null && reason === "stop") {
          await run.sequence.onTurn({ tokens: [], logprobs: [], reason: "length" });
        }
        ended.push(run.sequence);
      })().catch((error) => failure ??= error).finally(() => turns.delete(answered));
      turns.add(answered);
    };

    const collect = (run: Running, { token, logprob, likeliest }: SampledToken) => {
      const { sequence } = run;
      if (!sequence.signal?.aborted) {
        sequence.onToken?.(token, logprob, likeliest.slice(0, sequence.likeliest ?? 0));
      }
      if (sequence.signal?.aborted) return end(run); // perhaps by what was just called
      run.tokens.push(token);
      run.logprobs.push(logprob);
      run.history.push(token);
      run.cached = run.history.length - 1;
      if (this.#stops.includes(token)) endTurn(run, "stop");
      else if (run.history.length >= sequence.limit) endTurn(run, "length");
    };

    while (true) {
      for (const run of running) if (run?.sequence.signal?.aborted) end(run);
      const rows: FedToken[] = [];
      const started: Running[] = [];
      const forks: Fork[] = [];
      /** Feeds what the cache lacks of a history, all but its last token; that one is decoded. */
      const feed = (run: Running) => {
        for (let position = run.cached; position < run.history.length - 1; position++) {
          rows.push({ slot: run.slot!, position, token: run.history[position]! });
        }
        run.cached = run.history.length - 1;
        run.decoding = true;
        started.push(run);
      };
      const homeless: Running[] = [];
      for (const run of replied.splice(0)) {
        if (run.sequence.signal?.aborted) end(run);
        else if (run.slot === null) homeless.push(run);
        else feed(run);
      }

      // Free slots first; then those of sequences that still wait for a tool, which come back later.
      const numbers = [...running.keys()];
      const refilled = [
        ...numbers.filter((slot) => !running[slot]),
        ...numbers.filter((slot) => running[slot]?.decoding === false),
      ].slice(0, homeless.length + queue.length);
      // Prefills run before forks: what these slots held can't be copied any more.
      for (const [key, slot] of prompts) if (refilled.includes(slot)) prompts.delete(key);
      const arrived = queue.take(refilled.length - homeless.length);
      for (const slot of refilled) {
        const previous = running[slot];
        if (previous) previous.slot = null;
        const back = homeless.shift();
        if (back) {
          running[slot] = Object.assign(back, { slot, cached: 0 });
          feed(back);
          continue;
        }
        const queued = arrived.shift()!;
        const { sequence } = queued;
        const run: Running = {
          ...queued,
          slot,
          history: [...sequence.prompt],
          cached: 0,
          underWay: 0,
          decoding: false,
          ended: false,
          tokens: [],
          logprobs: [],
        };
        running[slot] = run;
        const promptKey = sequence.prompt.join();
        const source = prompts.get(promptKey);
        const count = run.history.length - 1;
        if (source === undefined) prompts.set(promptKey, slot);
        else {
          if (count > 0) forks.push({ source, target: slot, count });
          run.cached = count;
        }
        feed(run);
      }
      replied.push(...homeless);

      // Fewer and fewer towards the end, and never those that wait for a tool.
      const active = numbers.filter((slot) => running[slot]?.decoding);
      let recorded = false;
      if (active.length > 0) {
        // No more than the longest of them still has room for.
        const most = Math.max(...active.map((slot) => roomOf(running[slot]!)));
        const steps = Math.min(this.#stepsPerRead, most);
        // In a pass of their own where slots are to get copies of them, or where they are many.
        const apart = steps <= 0 || forks.length > 0 || active.length + rows.length > PREFILL_ROWS;
        if (apart) slots.prefill(rows);
        slots.fork(forks);
        for (const { slot, history, sequence: { limit, stream }, sampling } of started) {
          slots.start(slot!, {
            token: history.at(-1)!,
            position: history.length - 1,
            end: limit - 1, // the last token may be drawn but is never fed
            stream,
            sampling,
          });
        }
        if (steps > 0) {
          recorded = true;
          const ranked = Math.max(...active.map((slot) => running[slot]!.sequence.likeliest ?? 0));
          const round = slots.decode(active, steps, ranked, apart ? [] : rows);
          const runs = new Map(active.map((slot) => [slot, running[slot]!]));
          for (const run of runs.values()) run.underWay += steps;
          rounds.push({
            async take() {
              const sampled = await round.take();
              for (const run of runs.values()) run.underWay -= steps;
              return sampled.map((each) => ({ run: runs.get(each.slot)!, sampled: each }));
            },
          });
        }
      }
      for (const sequence of ended.splice(0)) {
        if (!sequence.signal?.aborted) sequence.onEnd?.();
      }
      if (rounds.length > 0 && (rounds.length >= this.#roundsInFlight || !recorded)) {
        for (const { run, sampled } of await rounds.shift()!.take()) collect(run, sampled);
      } else if (active.length === 0) {
        if (turns.size === 0 && queue.closed) break;
        await Promise.race(queue.closed ? turns : [...turns, queue.arrival]);
      }
      // Tools that answer at once are fed in the next round; slow ones hold up nobody else.
      for (let i = 0; i < PROMPT_ANSWER && turns.size > 0; i++) await null;
      if (turns.size > 0) await turnEventLoop();
      // Who pushes sequences while others run has requests to answer, each in several turns.
      for (let i = 0; i < OPEN_TURNS && !queue.closed; i++) await turnEventLoop();
      if (failure) throw failure;
    }
  }

  /** Frees the slots. */
  [Symbol.dispose](): void {
    this.#slots[Symbol.dispose]();
  }
}

/** Tokens that a sequence has room for behind those that are under way. */
function roomOf({ sequence: { limit }, history, underWay }: Running): number {
  return limit - history.length - underWay;
}
