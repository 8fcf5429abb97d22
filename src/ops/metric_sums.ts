/**
 * Diagnostics of losses, summed over tokens and micro-batches on the GPU and read once per step.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { Tape } from "../tape.ts";
import { assertMultipleOf4, Tensor } from "../tensor.ts";
import { foldRows } from "./reduce.ts";

/** Sums by name. Each loss has a list of columns of its own; the lists live as long as this does. */
export class MetricSums implements Disposable {
  readonly #place: Gpu | Tape;
  readonly #kept = new Map<readonly string[], Tensor>();
  /** The lists that were added to since `begin`, in order. */
  readonly #used = new Set<readonly string[]>();

  /** Sums of nothing yet. @param place where sums are to be that outlive the step, or the one step's tape */
  constructor(place: Gpu | Tape) {
    this.#place = place;
  }

  /** Starts from 0. */
  begin(): void {
    this.#used.clear();
  }

  /**
   * Adds the column sums of rows [N, columns.length].
   *
   * @param columns names, the same list each time; as many as a multiple of 4
   */
  add(tape: Tape, columns: readonly string[], rows: Tensor): void {
    let sums = this.#kept.get(columns);
    if (!sums) {
      const C = columns.length;
      assertMultipleOf4(C, "the number of columns", "sum metrics");
      sums = this.#tensor(C);
      this.#kept.set(columns, sums);
    }
    foldRows(tape, rows, sums, this.#used.has(columns) ? 1 : 0);
    this.#used.add(columns);
  }

  #tensor(C: number): Tensor {
    const place = this.#place;
    if (place instanceof Tape) return place.tensor([C], "metrics");
    return new Tensor(place.allocate(C * 4, "other", "metrics"), [C], "f32", "metrics");
  }

  /** What to read back. */
  get tensors(): Tensor[] {
    return [...this.#used].map((columns) => this.#kept.get(columns)!);
  }

  /** Names what was read of `tensors`, as they are now. */
  reader(): (contents: readonly ArrayBuffer[]) => Record<string, number> {
    const lists = [...this.#used];
    return (contents) =>
      Object.fromEntries(
        lists.flatMap((columns, i) => {
          const values = new Float32Array(contents[i]!);
          return columns.map((name, c) => [name, values[c]!] as const);
        }),
      );
  }

  /** Frees the sums; those of a tape are the tape's. */
  [Symbol.dispose](): void {
    if (this.#place instanceof Tape) return;
    this.#place.free([...this.#kept.values()].map(({ buffer }) => buffer));
  }
}
