/**
 * What is read from WGSL text without a parser.
 *
 * @module
 */

/** A module without its comments. */
export function withoutComments(source: string): string {
  return source.replace(/\/\/[^\n]*|\/\*[\s\S]*?\*\//g, "");
}

/**
 * The text between the brace at or after `start` and its partner.
 *
 * @throws {SyntaxError} if it has none.
 */
export function block(source: string, start: number): string {
  const open = source.indexOf("{", start);
  let depth = 0;
  for (let i = open; i < source.length; i++) {
    if (source[i] === "{") depth++;
    else if (source[i] === "}" && --depth === 0) return source.slice(open + 1, i);
  }
  throw new SyntaxError(`Cannot read WGSL: unbalanced braces after offset ${start}`);
}
