/**
 * Writes out loops whose turns are known, before a compiler sees them.
 *
 * naga, the compiler in Deno and Firefox, gives every loop a counter of its own, so that no shader can
 * run for ever. Drivers then no longer unroll loops, and an array that is indexed in a loop that stays
 * one lives in memory rather than in registers: on a GPU, products took 20 times as long.
 *
 * @module
 */

import { block, withoutComments } from "./wgsl.ts";

/** More turns than this stay a loop. */
const MOST_TURNS = 64;

const LOOP = /\bfor \(var (\w+) = ([^;]+); \1 < ([^;]+); \1(\+\+| [+*]= [^){]+)\) \{/g;
const CONSTANT = /^const (\w+) = ([^;]+);/gm;

/**
 * Replaces every `for (var i = A; i < B; i++)` (or `i += C`, `i *= C`) whose bounds are constants by
 * its turns, each a block that begins with `const i`. Loops that `break` or `continue` stay as they
 * are, and those whose bounds or variable have a name that is declared more than once.
 *
 * @param source WGSL, with the `const` declarations that the bounds are made of; comments are left out
 */
export function unroll(source: string): string {
  const code = withoutComments(source);
  const constants = new Map<string, number>();
  for (const [, name, expression] of code.matchAll(CONSTANT)) {
    const value = evaluate(expression!, constants);
    if (value !== null && declarations(code, name!) === 1) constants.set(name!, value);
  }
  return unrollWith(code, constants);
}

/** How often a name is given a meaning, as a variable, parameter or member. */
function declarations(code: string, name: string): number {
  const places = new RegExp(`\\b${name}\\s*:|\\b(?:const|let|var|override)\\s+${name}\\b`, "g");
  return code.match(places)?.length ?? 0;
}

function unrollWith(source: string, constants: ReadonlyMap<string, number>): string {
  let text = "";
  let done = 0;
  for (const match of source.matchAll(LOOP)) {
    if (match.index < done) continue; // inside a loop that was written out
    const [head, name, first, limit, step] = match;
    const open = match.index + head.length;
    const body = block(source, open - 1);
    const values = turns(first!, limit!, step!, constants);
    text += source.slice(done, match.index);
    const stays = /\b(break|continue)\b/.test(body) || declarations(body, name!) > 0;
    if (values === null || stays) {
      text += `${head}${unrollWith(body, constants)}}`;
    } else {
      // Only bare literals are of no type: `i = 0; i < 4`.
      const type = /[a-zA-Z]/.test(first! + limit!) ? "u" : "";
      for (const value of values) {
        const inner = unrollWith(body, new Map([...constants, [name!, value]]));
        text += `{ const ${name} = ${value}${type};${inner}}\n`;
      }
    }
    done = open + body.length + 1;
  }
  return text + source.slice(done);
}

/** The values of a loop's variable, or null where they are unknown or too many. */
function turns(
  first: string,
  limit: string,
  step: string,
  constants: ReadonlyMap<string, number>,
): number[] | null {
  const from = evaluate(first, constants);
  const to = evaluate(limit, constants);
  const by = step === "++" ? 1 : evaluate(step.slice(4), constants);
  if (from === null || to === null || by === null) return null;
  const next = (value: number) => step.startsWith(" *") ? value * by : value + by;
  const values: number[] = [];
  for (let value = from; value < to; value = next(value)) {
    if (values.length === MOST_TURNS || next(value) <= value) return null;
    values.push(value);
  }
  return values;
}

/** The value of an expression of whole numbers and constants, or null where it is anything else. */
function evaluate(expression: string, constants: ReadonlyMap<string, number>): number | null {
  const tokens = expression.match(/\w+|\S/g) ?? [];
  let at = 0;
  const operand = (): number => {
    const token = tokens[at++] ?? "";
    if (token === "(") {
      const value = sum();
      return tokens[at++] === ")" ? value : NaN;
    }
    return /^\d+u?$/.test(token) ? parseInt(token) : constants.get(token) ?? NaN;
  };
  const product = (): number => {
    let value = operand();
    while (tokens[at] === "*" || tokens[at] === "/") {
      value = tokens[at++] === "*" ? value * operand() : Math.floor(value / operand());
    }
    return value;
  };
  const sum = (): number => {
    let value = product();
    while (tokens[at] === "+" || tokens[at] === "-") {
      value += tokens[at++] === "+" ? product() : -product();
    }
    return value;
  };
  const value = sum();
  return at === tokens.length && Number.isInteger(value) ? value : null;
}
