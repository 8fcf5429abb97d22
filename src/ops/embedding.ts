/**
 * Token embedding.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { boundRows, type Span, spans } from "../gpu/ranges.ts";
import type { Tape } from "../tape.ts";
import {
  assertMultipleOf4,
  assertShape,
  type FloatType,
  rowRange,
  type Tensor,
} from "../tensor.ts";
import { clear, elementwise } from "./launch.ts";

/** Positions sorted by token: token `tokens[b]` occurs at `order[starts[b]] .. order[starts[b + 1] - 1]`. */
export interface TokenBuckets {
  readonly tokens: Uint32Array;
  readonly starts: Uint32Array;
  readonly order: Uint32Array;
}

/** Counting sort of positions by token id; O(T + distinct log distinct). */
export function bucketTokens(ids: Uint32Array): TokenBuckets {
  const counts = new Map<number, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  const tokens = Uint32Array.from(counts.keys()).sort();
  const starts = new Uint32Array(tokens.length + 1);
  const next = new Map<number, number>();
  tokens.forEach((token, b) => {
    next.set(token, starts[b]!);
    starts[b + 1] = starts[b]! + counts.get(token)!;
  });
  const order = new Uint32Array(ids.length);
  ids.forEach((id, position) => {
    const at = next.get(id)!;
    order[at] = position;
    next.set(id, at + 1);
  });
  return { tokens, starts, order };
}

/**
 * y[T,C] = scale * table[ids].
 *
 * @param table [V,C], C a multiple of 4, stored in any float type
 * @param ids token ids below V, on the host where a gradient is wanted (it sorts them)
 * @throws {RangeError} if an id is not in the table.
 */
export function embedding(
  tape: Tape,
  table: Tensor,
  ids: Uint32Array | Tensor,
  scale = 1,
): Tensor {
  const [V, C] = table.shape as [number, number];
  assertShape(table, [V, C], "embed tokens");
  assertMultipleOf4(C, "the width", "embed tokens");
  const { gpu } = tape;
  if (ids instanceof Uint32Array) {
    const wrong = ids.find((id) => id >= V);
    if (wrong !== undefined) {
      throw new RangeError(`Cannot embed token ${wrong}: the vocabulary has ${V} tokens`);
    }
  }
  const input = ids instanceof Uint32Array ? tape.upload(ids, "token ids") : ids;
  const T = input.size;
  const y = tape.tensor([T, C], "embedding", ids instanceof Uint32Array ? [table] : []);
  const constants = { WIDTH4: C / 4 };
  const stored = table.dtype as FloatType;
  for (const { first, count } of tableRanges(gpu, table)) {
    const bindings = { ids: input, table: rowRange(table, first, count), y };
    const params = { rows: T, first, count, scale };
    elementwise(gpu, "embedding", "forward", T * C / 4, bindings, params, { constants, stored });
  }

  if (ids instanceof Uint32Array) {
    tape.record([y], () => {
      const dy = y.grad;
      if (!dy) return;
      const { tokens, starts, order } = bucketTokens(ids);
      const distinct = tokens.length;
      const read = {
        tokens: tape.upload(tokens, "distinct tokens"),
        starts: tape.upload(starts, "bucket starts"),
        order: tape.upload(order, "positions by token"),
        dy,
      };
      tape.accumulate(table, (dtable, beta) => {
        // Rows of tokens that do not occur get no contribution: the first one clears the table.
        if (beta === 0) clear(gpu, dtable);
        for (const { first, count } of tableRanges(gpu, dtable)) {
          const bindings = { ...read, dtable: rowRange(dtable, first, count) };
          const params = { distinct, first, count, scale };
          const units = distinct * C / 4;
          elementwise(gpu, "embedding", "backward", units, bindings, params, { constants });
        }
      });
    });
  }
  return y;
}

/** The rows of a table that a dispatch sees at once. */
function tableRanges(gpu: Gpu, { shape: [V], bytes }: Tensor): Span[] {
  return spans(V!, boundRows(gpu, V!, bytes / V!));
}
