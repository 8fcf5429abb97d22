/**
 * "Did you mean": the known name nearest to a mistyped one.
 *
 * @module
 */

/** ` (did you mean "X"?)` for the nearest of `known`, or nothing if none is near. */
export function suggestion(word: string, known: Iterable<string>): string {
  let best: string | undefined;
  // Two swapped letters are two edits; more than a third of the letters wrong is another word.
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word, candidate);
    if (distance < Math.min(bestDistance, word.length)) {
      [best, bestDistance] = [candidate, distance];
    }
  }
  return best === undefined ? "" : ` (did you mean "${best}"?)`;
}

/** Insertions, deletions and substitutions between two words. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
