/**
 * A worked solution of GSM8K as calls of the arithmetic tools.
 *
 * Most calculations are marked: `48/2 = <<48/2=24>>24`. One solution in sixteen leaves the mark out
 * somewhere, often at the last step; there the calculation stands in the text alone, `24/4 = 6 hours`,
 * and is read from it. What is read from text counts only where it comes to the number that the text
 * states, so that no sentence is taken for a calculation that it is not.
 *
 * @module
 */

import type { Calculator } from "../../tools/calculator.ts";
import { callToolSync } from "../../tools/tool.ts";
import { type Expression, parseExpression } from "../expression.ts";
import type { ReferenceCall } from "../task.ts";

/** A mark, or an equals sign of the text with the number behind it. */
const STEP = /<<(.*?)>>|=\s*\$?\s*(-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)%?)(?!\d|\.\d|%|\s*[-+*\/x×÷])/gs;

/**
 * The calls of a solution, in order.
 *
 * @param solution without the final answer
 * @returns why there are none, if so
 */
export function convertSolution(solution: string, tools: Calculator): ReferenceCall[] | string {
  const calls: ReferenceCall[] = [];
  let steps = 0;
  for (const match of solution.matchAll(STEP)) {
    const [, mark, stated] = match;
    const before = textBefore(solution, match.index);
    if (mark === undefined) {
      const made = calculate(before, stated!, tools);
      if (made === null || made.every((call) => calls.some((other) => same(call, other)))) continue;
      steps++;
      calls.push(...made);
      continue;
    }
    steps++;
    const equals = mark.lastIndexOf("=");
    if (equals < 0) return "calculation without result";
    // "2*3=6*4=24" states a chain of equal values; the last left side is what was calculated.
    const left = mark.slice(0, equals).split("=").at(-1)!;
    const right = mark.slice(equals + 1);
    const expression = parseExpression(left);
    if (expression === null || parseExpression(right)?.kind !== "number") {
      return "unsupported syntax";
    }
    if (expression.kind === "number") {
      // "50 - 16 = <<34=34>>34": the mark repeats the result.
      calls.push(...calculate(before.replace(/[=\s$]+$/, ""), right, tools) ?? []);
      continue;
    }
    const made: ReferenceCall[] = [];
    const value = evaluate(expression, tools, made);
    if (value === null) return "calculation fails";
    if (!agrees(value, right)) return "result differs";
    calls.push(...made);
  }
  if (steps === 0) return "no calculation";
  return calls.length === 0 ? "nothing to calculate" : calls;
}

/** The line up to a position, from the last mark or equals sign on. */
function textBefore(solution: string, end: number): string {
  return solution.slice(0, end).replace(/^.*(?:\n|>>|=(?![\s$]*$))/s, "");
}

/** The longest calculation at the end of a text that comes to a number; null if there is none. */
function calculate(text: string, stated: string, tools: Calculator): ReferenceCall[] | null {
  // 2/8 x 100% = 25% is 2/8 x 100 = 25.
  const percent = stated.endsWith("%") && /\b100%/.test(text);
  const goal = percent ? stated.slice(0, -1) : stated;
  const plain = percent ? text.replaceAll(/\b100%/g, "100") : text;
  // "18 minutes + 30 minutes", "$600/day * 5 days"
  const withoutUnits = plain.replaceAll(/\/\s*[a-z]+/gi, " ")
    .replaceAll(/(?![xX](?=\s*[\d$(.]))[a-z][a-z'’-]*/gi, " ");
  for (const candidate of [plain, withoutUnits]) {
    for (const { index } of candidate.matchAll(/(?<![\d.,])[$(\d.-]/g)) {
      const expression = parseExpression(candidate.slice(index));
      if (expression?.kind !== "operation") continue;
      const calls: ReferenceCall[] = [];
      const value = evaluate(expression, tools, calls);
      if (value !== null && agrees(value, goal)) return calls;
    }
  }
  return null;
}

/** Runs an expression by tools, innermost and leftmost first, and appends the calls made. */
function evaluate(
  expression: Expression,
  tools: Calculator,
  calls: ReferenceCall[],
): number | null {
  if (expression.kind === "number") return expression.value;
  const a = evaluate(expression.left, tools, calls);
  const b = evaluate(expression.right, tools, calls);
  if (a === null || b === null) return null;
  const args = { a, b };
  const outcome = callToolSync(tools[expression.operator], args, {});
  if (outcome.status !== "ok") return null;
  calls.push({ name: expression.operator, arguments: args, result: outcome.result });
  return outcome.result as number;
}

/** Equal, or equal once rounded to the decimals that the text states: 10/3 "is" 3.33. */
function agrees(value: number, text: string): boolean {
  const expression = parseExpression(text);
  if (expression?.kind !== "number") return false;
  const stated = expression.value;
  const decimals = /\.(\d+)/.exec(text)?.[1]?.length ?? 0;
  const rounding = decimals > 0 ? 0.5 * 10 ** -decimals : 0;
  return Math.abs(value - stated) <= rounding + 1e-9 * Math.max(1, Math.abs(stated));
}

function same(a: ReferenceCall, b: ReferenceCall): boolean {
  return a.name === b.name && a.arguments.a === b.arguments.a && a.arguments.b === b.arguments.b;
}
