/**
 * The GPU half of generation: a fixed number of slots, each with its range of the KV cache, its next
 * token and its position.
 *
 * A prefill feeds known tokens (a prompt, a tool's result), any number per slot; a decode step feeds
 * each active slot its last token and draws the next. Both are the same forward pass over (slot,
 * position) rows, and each row's result depends on its own slot alone.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { attentionDecode, type CacheRows } from "../ops/attention_decode.ts";
import { ropeToCache } from "../ops/rope.ts";
import { NONE, sampleNext, type SamplingOptions, type SlotState } from "../ops/sample.ts";
import { Tape } from "../tape.ts";
import { elements, Tensor } from "../tensor.ts";
import type { Decoder } from "./decoder.ts";
import { type Fork, KvCache } from "./kv_cache.ts";

/** The model's logits are NaN or infinite: its weights are damaged, or training diverged. */
export class LogitsError extends RangeError {
  /** Tells it from other errors where classes are not shared. */
  override name = "LogitsError";
}

/** A known token to feed. */
export interface FedToken {
  readonly slot: number;
  readonly position: number;
  readonly token: number;
}

/** A sampled token. */
export interface SampledToken {
  readonly slot: number;
  readonly token: number;
  readonly logprob: number;
}

/** Rows that one prefill pass takes at most; bounds its scratch memory. */
const PREFILL_ROWS = 512;

/** Slots of one model on its GPU. */
export class DecodeSlots implements Disposable {
  readonly count: number;
  readonly #gpu: Gpu;
  readonly #model: Decoder;
  readonly #cache: KvCache;
  readonly #slots: SlotState;
  readonly #rows: CacheRows;
  readonly #stepsPerRead: number;
  readonly #stops: readonly [number, number];

  /** @param length positions per slot */
  constructor(
    model: Decoder,
    count: number,
    length: number,
    stepsPerRead: number,
    stops: readonly [number, number],
  ) {
    const gpu = this.#gpu = model.gpu;
    this.count = count;
    this.#model = model;
    this.#stepsPerRead = stepsPerRead;
    this.#stops = stops;
    this.#cache = new KvCache(gpu, model.config, count, length);
    const tensor = (shape: number[], label: string) =>
      new Tensor(gpu.allocate(elements(shape) * 4, "kv cache", label), shape, "u32", label);
    this.#slots = {
      state: tensor([count, 4], "slot state"),
      tokens: tensor([count], "slot tokens"),
      positions: tensor([count], "slot positions"),
      ring: tensor([stepsPerRead, count, 2], "token ring"),
    };
    this.#rows = { slots: tensor([count], "slot numbers"), positions: this.#slots.positions };
    gpu.write(this.#rows.slots.buffer, Uint32Array.from({ length: count }, (_, slot) => slot));
  }

  /** Makes every slot idle. */
  clear(): void {
    const idle = new Uint32Array(this.count * 4).fill(NONE);
    this.#gpu.write(this.#slots.state.buffer, idle);
    this.#gpu.write(this.#slots.positions.buffer, idle.subarray(0, this.count));
    this.#gpu.write(this.#slots.tokens.buffer, new Uint32Array(this.count));
  }

  /** Feeds known tokens: only their keys and values matter. */
  prefill(rows: readonly FedToken[]): void {
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
    return this.#model.hidden(tape, tokens, (layer, qkv, table) => {
      const cache = this.#cache.layers[layer]!;
      const q = ropeToCache(tape, qkv, table, config, cache, rows);
      return attentionDecode(tape, q, cache, rows, config);
    });
  }

  /**
   * Makes a slot decode: its next step feeds `token` at `position`.
   *
   * @param limit longest sequence; its last token may be drawn but is never fed
   */
  start(slot: number, token: number, position: number, limit: number, stream: number): void {
    const { state, tokens, positions } = this.#slots;
    const row = Uint32Array.of(token, position, limit - 1, stream);
    this.#gpu.write(state.buffer, row, slot * 16);
    this.#gpu.write(tokens.buffer, row.subarray(0, 1), slot * 4);
    this.#gpu.write(positions.buffer, row.subarray(1, 2), slot * 4);
  }

  /** Copies prompts between slots; runs after what was prefilled before. */
  fork(forks: readonly Fork[]): void {
    this.#cache.fork(new Tape(this.#gpu, { recording: false }), forks);
  }

  /** Records several decode steps, submits them, and reads their tokens in the order of drawing. */
  async decode(sampling: SamplingOptions): Promise<SampledToken[]> {
    for (let step = 0; step < this.#stepsPerRead; step++) {
      const tape = new Tape(this.#gpu, { recording: false });
      const hidden = this.#forward(tape, this.#slots.tokens, this.#rows);
      const logits = this.#model.project(tape, hidden);
      sampleNext(this.#gpu, logits, this.#slots, step, sampling, this.#stops);
      this.#gpu.recycle();
    }
    const [ring] = await this.#gpu.read(this.#slots.ring);
    return this.#sampled(ring!);
  }

  /** @throws {LogitsError} if a row's logits were not finite. */
  #sampled(ring: ArrayBuffer): SampledToken[] {
    const tokens = new Uint32Array(ring);
    const logprobs = new Float32Array(ring);
    const found: SampledToken[] = [];
    for (let row = 0; row < this.#stepsPerRead * this.count; row++) {
      const token = tokens[2 * row]!;
      if (token === NONE && tokens[2 * row + 1] === 0) continue; // an idle slot
      const logprob = logprobs[2 * row + 1]!;
      if (token === NONE || !Number.isFinite(logprob)) {
        throw new LogitsError(
          "Cannot sample: the model's logits are not finite; its weights are damaged or training diverged",
        );
      }
      found.push({ slot: row % this.count, token, logprob });
    }
    return found;
  }

  [Symbol.dispose](): void {
    const { state, tokens, positions, ring } = this.#slots;
    this.#cache[Symbol.dispose]();
    this.#gpu.free([state, tokens, positions, ring, this.#rows.slots].map(({ buffer }) => buffer));
  }
}
