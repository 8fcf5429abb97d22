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
import { checkSampling, type SamplingOptions } from "../ops/sample.ts";
import { DecodeSlots, type FedToken, type Round, type SampledToken } from "./decode_slots.ts";
import type { Decoder } from "./decoder.ts";
import type { Fork } from "./kv_cache.ts";

/** What the model produced since it was last fed. */
export interface GeneratedTurn {
  readonly tokens: readonly number[];
  /** log p of each token under the whole distribution at the sampling temperature. */
  readonly logprobs: readonly number[];
  /** `stop`: the last token is a stop token; `length`: the sequence is at its limit. */
  readonly reason: "stop" | "length";
}

/** One sequence to generate. */
export interface Sequence {
  /** Fed first; at least one token. Equal prompts are computed once. */
  readonly prompt: Uint32Array;
  /** Names the random stream: equal (seed, stream) draw equal tokens after equal prefixes. */
  readonly stream: number;
  /** Longest length in tokens, prompt and fed tokens included. */
  readonly limit: number;
  /** Called with each token once the host has it, to show it while the model goes on. */
  onToken?(token: number): void;
  /**
   * Called at each stop. Returns tokens to feed before the model goes on, or null to end. If they
   * do not fit the limit it is called once more, with no tokens and reason `length`.
   * Its exceptions end the whole generation.
   */
  onTurn(turn: GeneratedTurn): Uint32Array | null | Promise<Uint32Array | null>;
}

/** Shape of a generator. */
export interface GeneratorOptions {
  /** Sequences at a time. */
  readonly slots: number;
  /** Positions per slot: the longest sequence. */
  readonly length: number;
  /** Tokens decoded per look of the host; a read-back costs at least 10 ms under Deno. */
  readonly stepsPerRead?: number;
  /** Rounds of decode steps in flight: while one is read back the GPU works on the next. */
  readonly roundsInFlight?: number;
  /** Tokens that end a turn. */
  readonly stops: readonly [number, number];
}

/** A sequence that was begun. */
interface Running {
  readonly sequence: Sequence;
  /** Where it is; null while another sequence has its slot. */
  slot: number | null;
  /** Everything fed and sampled. */
  readonly history: number[];
  /** Positions of the history that the slot's cache holds, or will once the step is done. */
  cached: number;
  /** Steps under way that may draw a token for it. */
  underWay: number;
  /** Whether the host is thinking about its last turn. */
  paused: boolean;
  /** The current turn. */
  tokens: number[];
  logprobs: number[];
}

/** One round is read back, which takes 10 ms and more under Deno, while the GPU works on the next. */
const ROUNDS_IN_FLIGHT = 2;

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
    const { slots, length, stepsPerRead = 6, roundsInFlight = ROUNDS_IN_FLIGHT, stops } = options;
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

  /**
   * Runs every sequence to its end. After an error the generator can be used again.
   *
   * @throws {RangeError} if a prompt is empty or does not fit its limit or the slots, if a token is
   * not in the vocabulary, or if the model's logits are not finite.
   * @throws {TypeError} if a run is under way.
   */
  async run(sequences: readonly Sequence[], sampling: SamplingOptions): Promise<void> {
    if (this.#busy) {
      throw new TypeError(
        "Cannot generate: the generator is already running; await it, or make another one",
      );
    }
    this.#check(sequences);
    checkSampling(sampling);
    const rounds: Round[] = [];
    this.#busy = true;
    try {
      await this.#run(sequences, sampling, rounds);
    } catch (error) {
      this.#gpu.discard(); // half a step may be recorded, and name buffers that are freed next
      throw error;
    } finally {
      await Promise.allSettled(rounds.map((round) => round.take()));
      this.#busy = false;
    }
  }

  #check(sequences: readonly Sequence[]): void {
    const length = this.#length;
    for (const { prompt, limit } of sequences) {
      this.#checkTokens(prompt);
      if (prompt.length === 0 || prompt.length >= limit || limit > length) {
        throw new RangeError(
          `Cannot generate: a prompt of ${prompt.length} tokens needs a limit above it and up to ` +
            `${length}, got ${limit}; shorten the prompt or raise the context`,
        );
      }
    }
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
  async #run(
    sequences: readonly Sequence[],
    sampling: SamplingOptions,
    rounds: Round[],
  ): Promise<void> {
    const slots = this.#slots;
    slots.clear();
    const waiting = [...sequences].reverse();
    const running: (Running | null)[] = Array(slots.count).fill(null);
    const prompts = new Map<string, number>(); // prompt -> slot that still holds it
    const replied: Running[] = []; // onTurn has answered, with what is now the end of the history
    const turns = new Set<Promise<void>>(); // calls of onTurn under way
    let decoding = 0; // slots that the GPU is still drawing tokens for, as far as the host knows
    let failure: unknown = null;
    using eventLoop = new EventLoop();

    const endTurn = (run: Running, reason: "stop" | "length") => {
      decoding--;
      run.paused = true;
      const turn = { tokens: run.tokens, logprobs: run.logprobs, reason };
      run.tokens = [];
      run.logprobs = [];
      const ended = (async () => {
        const next = await run.sequence.onTurn(turn);
        run.paused = false;
        if (next) this.#checkTokens(next);
        // One more token than is fed must fit, or there is nothing left to sample.
        const fits = next !== null && run.history.length + next.length < run.sequence.limit;
        if (fits && reason === "stop") {
          run.history.push(...next);
          replied.push(run);
          return;
        }
        if (run.slot !== null) running[run.slot] = null;
        if (next !== null && reason === "stop") {
          await run.sequence.onTurn({ tokens: [], logprobs: [], reason: "length" });
        }
      })().catch((error) => failure ??= error).finally(() => turns.delete(ended));
      turns.add(ended);
    };

    while (true) {
      const rows: FedToken[] = [];
      const started: Running[] = [];
      const forks: Fork[] = [];
      /** Feeds what the cache lacks of a history, all but its last token; that one is decoded. */
      const feed = (run: Running) => {
        for (let position = run.cached; position < run.history.length - 1; position++) {
          rows.push({ slot: run.slot!, position, token: run.history[position]! });
        }
        run.cached = run.history.length - 1;
        started.push(run);
      };
      const homeless: Running[] = [];
      for (const run of replied.splice(0)) {
        if (run.slot === null) homeless.push(run);
        else feed(run);
      }

      // Free slots first; then those of sequences that still wait for a tool, which come back later.
      const numbers = [...running.keys()];
      const refilled = [
        ...numbers.filter((slot) => !running[slot]),
        ...numbers.filter((slot) => running[slot]?.paused),
      ].slice(0, homeless.length + waiting.length);
      // Prefills run before forks: what these slots held can't be copied any more.
      for (const [key, slot] of prompts) if (refilled.includes(slot)) prompts.delete(key);
      for (const slot of refilled) {
        const previous = running[slot];
        if (previous) previous.slot = null;
        const back = homeless.shift();
        if (back) {
          running[slot] = Object.assign(back, { slot, cached: 0 });
          feed(back);
          continue;
        }
        const sequence = waiting.pop()!;
        const run: Running = {
          sequence,
          slot,
          history: [...sequence.prompt],
          cached: 0,
          underWay: 0,
          paused: false,
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

      decoding += started.length;
      let recorded = false;
      if (decoding > 0) {
        slots.prefill(rows);
        slots.fork(forks);
        for (const { slot, history, sequence: { limit, stream } } of started) {
          slots.start(slot!, history.at(-1)!, history.length - 1, limit, stream);
        }
        // Fewer and fewer towards the end, and never those that wait for a tool.
        const active = numbers.filter((slot) => running[slot] && !running[slot].paused);
        // No more than the longest of them still has room for.
        const most = Math.max(...active.map((slot) => roomOf(running[slot]!)));
        const steps = Math.min(this.#stepsPerRead, most);
        if (steps > 0) {
          recorded = true;
          const round = slots.decode(sampling, active, steps);
          const runs = active.map((slot) => running[slot]!);
          for (const run of runs) run.underWay += steps;
          rounds.push({
            async take() {
              const sampled = await round.take();
              for (const run of runs) run.underWay -= steps;
              return sampled;
            },
          });
        }
      }
      if (rounds.length > 0 && (rounds.length >= this.#roundsInFlight || !recorded)) {
        this.#collect(await rounds.shift()!.take(), running, endTurn);
      } else if (decoding === 0) {
        if (turns.size === 0) break;
        await Promise.race(turns);
      }
      // Tools that answer at once are fed in the next round; slow ones hold up nobody else.
      if (turns.size > 0) await eventLoop.next();
      if (failure) throw failure;
    }
  }

  /** Hands the tokens of one round to their sequences. */
  #collect(
    sampled: readonly SampledToken[],
    running: readonly (Running | null)[],
    endTurn: (run: Running, reason: "stop" | "length") => void,
  ): void {
    for (const { slot, token, logprob } of sampled) {
      const run = running[slot]!;
      run.sequence.onToken?.(token);
      run.tokens.push(token);
      run.logprobs.push(logprob);
      run.history.push(token);
      run.cached = run.history.length - 1;
      if (this.#stops.includes(token)) endTurn(run, "stop");
      else if (run.history.length >= run.sequence.limit) endTurn(run, "length");
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

/** Waits for one turn of the event loop: a message is delivered at once, a timer 1 ms later. */
class EventLoop implements Disposable {
  readonly #channel = new MessageChannel();
  #resolve = () => {};

  constructor() {
    this.#channel.port1.onmessage = () => this.#resolve();
  }

  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#channel.port2.postMessage(null);
    });
  }

  [Symbol.dispose](): void {
    this.#channel.port1.close();
    this.#channel.port2.close();
  }
}
