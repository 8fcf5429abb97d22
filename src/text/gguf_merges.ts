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

interface Merge {
  readonly left: string;
  readonly right: string;
  readonly score: number;
}

/**
 * The merges, best first, with which byte-pair encoding finds what SentencePiece finds by scores.
 *
 * SentencePiece joins the two neighbours whose piece has the highest score, so every way to cut a
 * piece into two others is a merge of that piece's rank. User-defined pieces come before all: it
 * looks for them before anything else, whatever score a converter gave them. Among equals the
 * longer left part goes first, which takes the longest run of repeated characters from the left.
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
  const merges: Merge[] = [];
  for (const [piece, score] of rank) {
    for (let at = 1; at < piece.length; at++) {
      // Not between the two halves of one character.
      if ((piece.charCodeAt(at) & 0xfc00) === 0xdc00) continue;
      const left = piece.slice(0, at);
      if (!rank.has(left)) continue;
      const right = piece.slice(at);
      if (rank.has(right)) merges.push({ left, right, score });
    }
  }
  merges.sort((a, b) =>
    // Equal infinities have no difference.
    (a.score === b.score ? 0 : b.score - a.score) ||
    length(b.left) - length(a.left) || length(b.right) - length(a.right)
  );
  return merges.map(({ left, right }) => [left, right]);
}

/** In characters, as SentencePiece counts. */
function length(text: string): number {
  let surrogates = 0;
  for (let i = 0; i < text.length; i++) {
    if ((text.charCodeAt(i) & 0xfc00) === 0xdc00) surrogates++;
  }
  return text.length - surrogates;
}
