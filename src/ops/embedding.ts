/**
 * Token embedding.
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertMultipleOf4, assertShape, type Tensor } from "../tensor.ts";
import { elementwise } from "./launch.ts";

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
 * @param table [V,C], C a multiple of 4
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
  const width = { WIDTH4: C / 4 };
  const read = { ids: input, table, y };
  elementwise(gpu, "embedding", "forward", T * C / 4, read, { rows: T, scale }, width);

  if (ids instanceof Uint32Array) {
    tape.record([y], () => {
      const dy = y.grad;
      if (!dy) return;
      const buckets = bucketTokens(ids);
      tape.accumulate(table, (dtable, beta) => {
        // Rows of tokens that do not occur get no contribution: the first one clears the table.
        if (beta === 0) {
          elementwise(gpu, "add", "clear", V * C / 4, { y: dtable }, { count: V * C });
        }
        elementwise(
          gpu,
          "embedding",
          "backward",
          buckets.tokens.length * C / 4,
          {
            tokens: tape.upload(buckets.tokens, "distinct tokens"),
            starts: tape.upload(buckets.starts, "bucket starts"),
            order: tape.upload(buckets.order, "positions by token"),
            dy,
            dtable,
          },
          { distinct: buckets.tokens.length, scale },
          width,
        );
      });
    });
  }
  return y;
}
