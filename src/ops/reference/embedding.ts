/**
 * Reference embedding lookup in f64. T tokens, V vocabulary, C channels.
 *
 *   forward   out[t] = table[ids[t]]
 *   backward  dtable[v] = sum over t with ids[t] = v of dout[t]
 *
 * @module
 */

/** Looks up one row per token: ids [T], table [V,C] -> out [T,C]. */
export function embeddingForward(
  ids: ArrayLike<number>,
  table: ArrayLike<number>,
  C: number,
): Float64Array {
  const out = new Float64Array(ids.length * C);
  for (let t = 0; t < ids.length; t++) {
    for (let c = 0; c < C; c++) out[t * C + c] = table[ids[t]! * C + c]!;
  }
  return out;
}

/** Sums the gradient of each token into its row: ids [T], dout [T,C] -> dtable [V,C]. */
export function embeddingBackward(
  ids: ArrayLike<number>,
  dout: ArrayLike<number>,
  { V, C }: { V: number; C: number },
): Float64Array {
  const dtable = new Float64Array(V * C);
  for (let t = 0; t < ids.length; t++) {
    for (let c = 0; c < C; c++) dtable[ids[t]! * C + c]! += dout[t * C + c]!;
  }
  return dtable;
}
