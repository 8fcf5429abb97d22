/**
 * The GPU half of generation: a fixed number of slots, each with its range of the KV cache, its next
 * token and its position.
 *
 * A prefill feeds known tokens (a prompt, a tool's result), any number per slot; a decode step feeds
 * each active slot its last token and draws the next. Both are the same forward pass over (slot,
 * position) rows, and each row's result depends on its own slot alone. So they may share a pass, too.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { attentionDecode, type CacheRows } from "../ops/attention_decode.ts";
import { ropeToCache } from "../ops/rope.ts";
import {
  beginRows,
  NONE,
  rankTokens,
  sampleNext,
  SLOT_WORDS,
  type SlotStart,
  type SlotState,
  slotWords,
  startSlots,
} from "../ops/sample.ts";
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
  /** The likeliest tokens in falling order, as many as were asked for. */
  readonly likeliest: readonly TokenLogprob[];
}

/** A token and how likely it was. */
export interface TokenLogprob {
  readonly token: number;
  /** log p under the whole distribution at the sampling temperature, at 1 where that is 0. */
  readonly logprob: number;
}

/** The likeliest tokens that can be asked for. */
export const MAX_LIKELIEST = 20;

/** Decode steps that were submitted. */
export interface Round {
  /**
   * Waits for their tokens, in the order of drawing.
   *
   * @throws {LogitsError} if a row's logits were not finite.
   */
  take(): Promise<SampledToken[]>;
}

/** Rows that one pass with known tokens takes at most; bounds its scratch memory. */
export const PREFILL_ROWS = 512;

/** What a pass feeds, and where; u32 [R] each. */
interface FedRows extends CacheRows {
  readonly tokens: Tensor;
}

/** Slots of one model on its GPU. */
export class DecodeSlots implements Disposable {
  readonly count: number;
  readonly #gpu: Gpu;
  readonly #model: Decoder;
  readonly #cache: KvCache;
  readonly #slots: Omit<SlotState, "slots">;
  /** u32 [steps, S, MAX_LIKELIEST, 2], where somebody has asked for them. */
  #likeliest: Tensor | null = null;
  readonly #stepsPerRead: number;
  readonly #stops: readonly [number, number];
  /** Slots that begin in the next step, each with its state behind it. */
  #starts: number[] = [];

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
    this.#slots = {
      state: this.#tensor([count, SLOT_WORDS], "slot state"),
      tokens: this.#tensor([count], "tokens of rows"),
      positions: this.#tensor([count], "positions of rows"),
      ring: this.#tensor([stepsPerRead, count, 2], "token ring"),
    };
  }

  /** Makes every slot idle. */
  clear(): void {
    const idle = new Uint32Array(this.count * SLOT_WORDS).fill(NONE);
    this.#gpu.write(this.#slots.state.buffer, idle);
    this.#starts = [];
  }

  /** Feeds known tokens: only their keys and values matter. */
  prefill(rows: readonly FedToken[]): void {
    for (let first = 0; first < rows.length; first += PREFILL_ROWS) {
      const fed = this.#upload(rows.slice(first, first + PREFILL_ROWS));
      this.#forward(new Tape(this.#gpu, { recording: false }), fed);
      this.#gpu.recycle();
    }
  }

  /** Uploads at most `PREFILL_ROWS` rows, column by column, at the same places whatever their number. */
  #upload(rows: readonly FedToken[]): FedRows {
    if (rows.length > PREFILL_ROWS) {
      throw new RangeError(
        `Cannot feed ${rows.length} tokens in one pass, which takes ${PREFILL_ROWS}; prefill some before`,
      );
    }
    const values = new Uint32Array(3 * PREFILL_ROWS);
    rows.forEach(({ token, slot, position }, row) => {
      values[row] = token;
      values[PREFILL_ROWS + row] = slot;
      values[2 * PREFILL_ROWS + row] = position;
    });
    const buffer = this.#gpu.upload(values, "fed rows");
    const column = (number: number, label: string) => {
      const size = PREFILL_ROWS * 4;
      const range = { offset: number * size, size };
      return new Tensor(buffer, [rows.length], "u32", label, false, range);
    };
    return {
      tokens: column(0, "fed tokens"),
      slots: column(1, "fed slots"),
      positions: column(2, "fed positions"),
    };
  }

  #forward(tape: Tape, rows: FedRows): Tensor {
    const { config } = this.#model;
    return this.#model.hidden(tape, rows.tokens, rows.positions, (tape, layer, qkv, table) => {
      const cache = this.#cache.layers[layer]!;
      const q = ropeToCache(tape, qkv, table, config, cache, rows);
      return attentionDecode(tape, q, cache, rows, config, config.windows[layer]);
    });
  }

  /** Logits [count, V] of the first rows. */
  #logits(rows: FedRows, count: number): Tensor {
    const tape = new Tape(this.#gpu, { recording: false });
    const hidden = this.#forward(tape, rows);
    return this.#model.project(tape, seenAs(hidden, [count, hidden.shape[1]!]));
  }

  /** Gives a slot a sequence to decode in the next step; its last token is not fed yet. */
  start(slot: number, start: SlotStart): void {
    this.#starts.push(slot, ...slotWords(start));
  }

  /** Copies prompts between slots; runs after what was prefilled before. */
  fork(forks: readonly Fork[]): void {
    this.#cache.fork(new Tape(this.#gpu, { recording: false }), forks);
  }

  /**
   * Records several decode steps and submits them.
   *
   * @param active the slots that may have something to decode; no other takes part
   * @param steps how many, where fewer than usual are left for all of them
   * @param likeliest how many of the likeliest tokens to report with each that is drawn
   * @param known tokens to feed before, in the same pass as the first step: at most `PREFILL_ROWS`
   * with those of the active slots
   */
  decode(
    active: readonly number[],
    steps = this.#stepsPerRead,
    likeliest = 0,
    known: readonly FedToken[] = [],
  ): Round {
    const gpu = this.#gpu;
    const rows = this.#activeRows(active, steps);
    const ranking = likeliest > 0 ? this.#ranking([steps, active.length, likeliest, 2]) : null;
    if (this.#starts.length > 0) {
      const starts = Uint32Array.from(this.#starts.splice(0));
      const tape = new Tape(gpu, { recording: false });
      startSlots(
        gpu,
        rows,
        tape.upload(starts, "starts", [starts.length / (1 + SLOT_WORDS), 1 + SLOT_WORDS]),
      );
    }
    // Those of the active slots come first, and get their token and position from the slot.
    const blank = active.map((slot) => ({ slot, position: 0, token: 0 }));
    const first = known.length > 0 ? this.#upload([...blank, ...known]) : rows;
    beginRows(gpu, { ...rows, tokens: first.tokens, positions: first.positions });
    /** The first step that feeds nothing else, which those behind it repeat. */
    let plain: { readonly result: Tensor; readonly again: () => void } | null = null;
    for (let step = 0; step < steps; step++) {
      if (plain) plain.again();
      else if (step > 0 || first === rows) {
        gpu.recycle();
        plain = gpu.capture(() => this.#logits(rows, active.length));
      }
      const logits = plain?.result ?? this.#logits(first, active.length);
      sampleNext(gpu, logits, rows, step, this.#stops);
      if (ranking) rankTokens(gpu, logits, rows, ranking, step);
    }
    gpu.recycle();
    const reading = gpu.readBack(rows.ring, ...(ranking ? [ranking] : []));
    return {
      take: async () => {
        const [ring, ranked] = await reading.take();
        return this.#sampled(ring!, ranked, active, steps);
      },
    };
  }

  #ranking(shape: number[]): Tensor {
    this.#likeliest ??= this.#tensor(
      [this.#stepsPerRead, this.count, MAX_LIKELIEST, 2],
      "likeliest tokens",
    );
    return seenAs(this.#likeliest, shape);
  }

  #tensor(shape: number[], label: string): Tensor {
    return new Tensor(
      this.#gpu.allocate(elements(shape) * 4, "kv cache", label),
      shape,
      "u32",
      label,
    );
  }

  /** The state seen by as many rows as there are active slots. */
  #activeRows(active: readonly number[], steps: number): SlotState {
    const R = active.length;
    const { state, tokens, positions, ring } = this.#slots;
    const slots = this.#gpu.upload(Uint32Array.from(active), "slots of rows");
    return {
      state,
      slots: new Tensor(slots, [R], "u32", "slots of rows"),
      tokens: seenAs(tokens, [R]),
      positions: seenAs(positions, [R]),
      ring: seenAs(ring, [steps, R, 2]),
    };
  }

  /** @throws {LogitsError} if a row's logits were not finite. */
  #sampled(
    ring: ArrayBuffer,
    ranked: ArrayBuffer | undefined,
    active: readonly number[],
    steps: number,
  ): SampledToken[] {
    const tokens = new Uint32Array(ring);
    const logprobs = new Float32Array(ring);
    const ranks = pairs(ranked);
    const perRow = ranks.length / (steps * active.length);
    const found: SampledToken[] = [];
    for (let row = 0; row < steps * active.length; row++) {
      const token = tokens[2 * row]!;
      if (token === NONE && tokens[2 * row + 1] === 0) continue; // an idle slot
      const logprob = logprobs[2 * row + 1]!;
      if (token === NONE || !Number.isFinite(logprob)) {
        throw new LogitsError(
          "Cannot sample: the model's logits are not finite; its weights are damaged or training diverged",
        );
      }
      const likeliest = ranks.slice(row * perRow, (row + 1) * perRow);
      found.push({ slot: active[row % active.length]!, token, logprob, likeliest });
    }
    return found;
  }

  [Symbol.dispose](): void {
    this.#cache[Symbol.dispose]();
    const tensors = [...Object.values(this.#slots), ...(this.#likeliest ? [this.#likeliest] : [])];
    this.#gpu.free(tensors.map(({ buffer }) => buffer));
  }
}

/** The first elements of a tensor, in a shape of their own. */
function seenAs({ buffer, dtype, label }: Tensor, shape: readonly number[]): Tensor {
  return new Tensor(buffer, shape, dtype, label);
}

/** Tokens with their log-probabilities, as the GPU writes them. */
function pairs(bytes: ArrayBuffer = new ArrayBuffer(0)): TokenLogprob[] {
  const logprobs = new Float32Array(bytes);
  return Array.from(
    new Uint32Array(bytes).filter((_, i) => i % 2 === 0),
    (token, i) => ({ token, logprob: logprobs[2 * i + 1]! }),
  );
}
