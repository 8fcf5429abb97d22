/**
 * Finding marks in a text of which there is more to come.
 *
 * @module
 */

/** Where something begins in a text; behind its end where it does not. */
export interface Beginning {
  /** Position in the text. */
  readonly at: number;
  /** Whether it is there, and not only may be once the text goes on. */
  readonly sure: boolean;
}

/** Where the first of `marks` begins, or may begin at the end of the text. */
export function findMark(text: string, marks: readonly string[]): Beginning {
  const whole = marks.map((mark) => text.indexOf(mark)).filter((at) => at >= 0);
  if (whole.length > 0) return { at: Math.min(...whole), sure: true };
  const longest = Math.max(0, ...marks.map(({ length }) => length - 1));
  for (let at = Math.max(0, text.length - longest); at < text.length; at++) {
    if (marks.some((mark) => mark.startsWith(text.slice(at)))) return { at, sure: false };
  }
  return { at: text.length, sure: false };
}

/**
 * The same for patterns.
 *
 * @param begun matches what may become a mark, at the end of the text
 */
export function findPattern(text: string, mark: RegExp, begun: RegExp): Beginning {
  const at = text.search(mark);
  if (at >= 0) return { at, sure: true };
  const maybe = text.search(begun);
  return { at: maybe < 0 ? text.length : maybe, sure: false };
}

/** The earlier of two beginnings. */
export function earlier(a: Beginning, b: Beginning): Beginning {
  return a.at < b.at || (a.at === b.at && a.sure) ? a : b;
}
