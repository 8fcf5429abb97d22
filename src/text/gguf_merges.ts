/**
 * Merges for a SentencePiece vocabulary, which has a score per piece instead.
 *
 * @module
 */

/** Kinds of token, by GGUF's numbers. */
export const TokenType = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

/**
 * The merges, best first, with which byte-pair encoding finds what SentencePiece finds by scores.
 *
 * SentencePiece joins the two neighbours whose piece has the highest score, so every way to cut a
 * piece into two others is a merge of that piece's rank. User-defined pieces come before all: it
 * looks for them before anything else, whatever score a converter gave them. Among equals longer
 * pieces and then longer left parts go first, which takes long runs of one character from the left.
 *
 * @param vocab ids by piece
 * @param types GGUF's kind of each id
 * @param scores of each id; higher is better
 */
export function spmMerges(
  vocab: Readonly<Record<string, number>>,
  types: readonly number[],
  scores: readonly number[],
): [string, string][] {
  const rank = new Map<string, number>();
  for (const [piece, id] of Object.entries(vocab)) {
    if (types[id] === TokenType.userDefined) rank.set(piece, Infinity);
    else if (types[id] === TokenType.normal) rank.set(piece, scores[id]!);
  }
  // Equal infinities have no difference.
  const best = [...rank].sort(([a, x], [b, y]) => (x === y ? 0 : y - x) || b.length - a.length);
  const merges: [string, string][] = [];
  for (const [piece] of best) {
    for (let at = piece.length - 1; at > 0; at--) {
      // Not between the two halves of one character.
      if ((piece.charCodeAt(at) & 0xfc00) === 0xdc00) continue;
      const left = piece.slice(0, at);
      if (!rank.has(left)) continue;
      const right = piece.slice(at);
      if (rank.has(right)) merges.push([left, right]);
    }
  }
  return merges;
}
