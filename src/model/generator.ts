/**
 * Continuous batching: many sequences share a fixed number of slots, and the host looks at the
 * GPU only once per several decoded tokens.
 *
 * A prefill feeds known tokens (a prompt, a tool's result), any number per slot; a decode step
 * feeds each slot its last token and draws the next. Both are the same forward pass over
 * (slot, position) rows, and each row's result depends on its own slot alone, so what is sampled
 * does not depend on the batch, the slot or the order of events.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { appendToCache, attentionDecode, type CacheRows } from "../ops/attention_decode.ts";
import {
  checkSampling,
  NONE,
  sampleNext,
  type SamplingOptions,
  type SlotState,
} from "../ops/sample.ts";
import { Tape } from "../tape.ts";
import { elements, Tensor } from "../tensor.ts";
import type { Decoder } from "./decoder.ts";
import { type Fork, KvCache } from "./kv_cache.ts";

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

/** A sequence in its slot. */
interface Running {
  readonly sequence: Sequence;
  /** Tokens so far, sampled ones included. */
  length: number;
  /** Whether the last sampled token still has to be fed. */
  last: number | null;
  tokens: number[];
  logprobs: number[];
}

/** Rows that one prefill pass takes at most; bounds its scratch memory. */
const PREFILL_ROWS = 512;
/** A software adapter works on the host's own cores: a second round would wait for the first. */
const ROUNDS_IN_FLIGHT = { software: 1, gpu: 2 };

/** Generates sequences with one model; keeps its KV cache between calls. */
export class Generator implements Disposable {
  readonly #gpu: Gpu;
  readonly #model: Decoder;
  readonly #cache: KvCache;
  readonly #slots: SlotState;
  readonly #rows: CacheRows;
  readonly #stepsPerRead: number;
  readonly #roundsInFlight: number;
  readonly #stops: readonly [number, number];
  #busy = false;

  /**
   * @throws {RangeError} if a size is not a positive integer, or the length exceeds the context.
   */
  constructor(model: Decoder, options: GeneratorOptions) {
    const gpu = this.#gpu = model.gpu;
    const depth = gpu.info.software ? ROUNDS_IN_FLIGHT.software : ROUNDS_IN_FLIGHT.gpu;
    const { slots, length, stepsPerRead = 8, roundsInFlight = depth, stops } = options;
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
    this.#stepsPerRead = stepsPerRead;
    this.#roundsInFlight = roundsInFlight;
    this.#stops = stops;
    this.#cache = new KvCache(gpu, model.config, slots, length);
    const tensor = (shape: number[], label: string) =>
      new Tensor(gpu.allocate(elements(shape) * 4, "kv cache", label), shape, "u32", label);
    this.#slots = {
      state: tensor([slots, 4], "slot state"),
      tokens: tensor([slots], "slot tokens"),
      positions: tensor([slots], "slot positions"),
      ring: tensor([stepsPerRead, slots, 2], "token ring"),
    };
    this.#rows = { slots: tensor([slots], "slot numbers"), positions: this.#slots.positions };
    gpu.write(this.#rows.slots.buffer, Uint32Array.from({ length: slots }, (_, slot) => slot));
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
    const rounds: Promise<ArrayBuffer[]>[] = [];
    this.#busy = true;
    try {
      await this.#run(sequences, sampling, rounds);
    } catch (error) {
      this.#gpu.discard(); // half a step may be recorded, and name buffers that are freed next
      throw error;
    } finally {
      await Promise.allSettled(rounds);
      this.#busy = false;
    }
  }

  #check(sequences: readonly Sequence[]): void {
    const { length } = this.#cache;
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
    rounds: Promise<ArrayBuffer[]>[],
  ): Promise<void> {
    const { slots } = this.#cache;
    const idle = new Uint32Array(slots * 4).fill(NONE);
    this.#gpu.write(this.#slots.state.buffer, idle);
    this.#gpu.write(this.#slots.positions.buffer, idle.subarray(0, slots));
    this.#gpu.write(this.#slots.tokens.buffer, new Uint32Array(slots));

    const waiting = [...sequences].reverse();
    const running: (Running | null)[] = Array(slots).fill(null);
    const prompts = new Map<string, number>(); // prompt -> slot that still holds it
    const fed: { slot: number; tokens: Uint32Array }[] = []; // answers of onTurn, to be fed
    const turns = new Set<Promise<void>>(); // calls of onTurn under way
    let decoding = 0; // slots that the GPU is still drawing tokens for, as far as the host knows
    let failure: unknown = null;

    const endTurn = (slot: number, run: Running, reason: "stop" | "length") => {
      decoding--;
      const turn = { tokens: run.tokens, logprobs: run.logprobs, reason };
      run.tokens = [];
      run.logprobs = [];
      const ended = (async () => {
        const next = await run.sequence.onTurn(turn);
        // One more token than is fed must fit, or there is nothing left to sample.
        if (next) this.#checkTokens(next);
        if (next === null || reason === "length") running[slot] = null;
        else if (run.length + next.length >= run.sequence.limit) {
          await run.sequence.onTurn({ tokens: [], logprobs: [], reason: "length" });
          running[slot] = null;
        } else fed.push({ slot, tokens: next });
      })().catch((error) => failure ??= error).finally(() => turns.delete(ended));
      turns.add(ended);
    };

    while (true) {
      const rows: { slot: number; position: number; token: number }[] = [];
      const starts: { slot: number; token: number; run: Running }[] = [];
      const feed = (slot: number, run: Running, tokens: readonly number[]) => {
        tokens.slice(0, -1).forEach((token, i) =>
          rows.push({ slot, position: run.length + i, token })
        );
        run.length += tokens.length;
        starts.push({ slot, token: tokens.at(-1)!, run });
      };
      for (const { slot, tokens } of fed.splice(0)) {
        const run = running[slot]!;
        run.length--; // the token that was sampled last is fed with the new ones
        feed(slot, run, [run.last!, ...tokens]);
      }
      const forks: Fork[] = [];
      const refilled = [...running.keys()].filter((slot) => !running[slot]).slice(
        0,
        waiting.length,
      );
      // Prefills run before forks: what these slots held can't be copied any more.
      for (const [key, slot] of prompts) if (refilled.includes(slot)) prompts.delete(key);
      for (const slot of refilled) {
        const sequence = waiting.pop()!;
        const promptKey = sequence.prompt.join();
        const run: Running = { sequence, length: 0, last: null, tokens: [], logprobs: [] };
        running[slot] = run;
        const source = prompts.get(promptKey);
        if (source === undefined) {
          prompts.set(promptKey, slot);
          feed(slot, run, [...sequence.prompt]);
        } else {
          const count = sequence.prompt.length - 1;
          if (count > 0) forks.push({ source, target: slot, count });
          run.length = sequence.prompt.length;
          starts.push({ slot, token: sequence.prompt.at(-1)!, run });
        }
      }

      decoding += starts.length;
      if (decoding > 0) {
        this.#prefill(rows);
        const tape = new Tape(this.#gpu, { recording: false });
        this.#cache.fork(tape, forks);
        for (const { slot, token, run } of starts) this.#start(slot, token, run);
        rounds.push(this.#decode(sampling));
      }
      if (rounds.length > 0 && (rounds.length >= this.#roundsInFlight || decoding === 0)) {
        const [ring] = await rounds.shift()!;
        this.#collect(new Uint32Array(ring!), running, endTurn);
      } else if (decoding === 0) {
        if (turns.size === 0) break;
        await Promise.race(turns);
      }
      // Tools that answer at once are fed in the next round; slow ones hold up nobody else.
      if (turns.size > 0) await settled();
      if (failure) throw failure;
    }
  }

  /** Feeds known tokens: only their keys and values matter. */
  #prefill(rows: readonly { slot: number; position: number; token: number }[]): void {
    for (let first = 0; first < rows.length; first += PREFILL_ROWS) {
      const chunk = rows.slice(first, first + PREFILL_ROWS);
      const tape = new Tape(this.#gpu, { recording: false });
      const column = (name: "slot" | "position" | "token") =>
        tape.upload(Uint32Array.from(chunk, (row) => row[name]), `prefill ${name}s`);
      this.#forward(tape, column("token"), {
        slots: column("slot"),
        positions: column("position"),
      });
      this.#gpu.recycle();
    }
  }

  #forward(tape: Tape, tokens: Tensor, rows: CacheRows): Tensor {
    const { config } = this.#model;
    return this.#model.hidden(tape, tokens, rows.positions, (layer, q, k, v) => {
      const cache = this.#cache.layers[layer]!;
      appendToCache(this.#gpu, cache, k, v, rows);
      return attentionDecode(tape, q, cache, rows, config);
    });
  }

  /** Makes a slot decode: its next step feeds `token` at the sequence's last position. */
  #start(slot: number, token: number, { length, sequence }: Running): void {
    const { state, tokens, positions } = this.#slots;
    const position = length - 1;
    // The token at position limit - 1 is the last that may be drawn; it is never fed.
    const row = Uint32Array.of(token, position, sequence.limit - 1, sequence.stream);
    this.#gpu.write(state.buffer, row, slot * 16);
    this.#gpu.write(tokens.buffer, row.subarray(0, 1), slot * 4);
    this.#gpu.write(positions.buffer, row.subarray(1, 2), slot * 4);
  }

  /** Records several decode steps and submits them with the read-back of their tokens. */
  #decode(sampling: SamplingOptions): Promise<ArrayBuffer[]> {
    for (let step = 0; step < this.#stepsPerRead; step++) {
      const tape = new Tape(this.#gpu, { recording: false });
      const hidden = this.#forward(tape, this.#slots.tokens, this.#rows);
      const logits = this.#model.project(tape, hidden);
      sampleNext(this.#gpu, logits, this.#slots, step, sampling, this.#stops);
      this.#gpu.recycle();
    }
    return this.#gpu.read(this.#slots.ring);
  }

  /** Hands the tokens of one round to their sequences. */
  #collect(
    ring: Uint32Array,
    running: readonly (Running | null)[],
    endTurn: (slot: number, run: Running, reason: "stop" | "length") => void,
  ): void {
    const { slots } = this.#cache;
    const logprobs = new Float32Array(ring.buffer);
    for (let step = 0; step < this.#stepsPerRead; step++) {
      for (let slot = 0; slot < slots; slot++) {
        const at = 2 * (step * slots + slot);
        const token = ring[at]!;
        const run = running[slot];
        if (!run || (token === NONE && ring[at + 1] === 0)) continue;
        if (token === NONE || !Number.isFinite(logprobs[at + 1])) {
          throw new RangeError(
            "Cannot sample: the model's logits are not finite; its weights are damaged or training diverged",
          );
        }
        run.tokens.push(token);
        run.logprobs.push(logprobs[at + 1]!);
        run.length++;
        run.last = token;
        if (this.#stops.includes(token)) endTurn(slot, run, "stop");
        else if (run.length >= run.sequence.limit) endTurn(slot, run, "length");
      }
    }
  }

  [Symbol.dispose](): void {
    const { state, tokens, positions, ring } = this.#slots;
    this.#cache[Symbol.dispose]();
    this.#gpu.free([state, tokens, positions, ring, this.#rows.slots].map(({ buffer }) => buffer));
  }
}

/** One turn of the event loop. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
