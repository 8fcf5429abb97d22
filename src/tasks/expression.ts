/**
 * Arithmetic expressions as people write them: numbers, + - * /, parentheses, "%" and "$", and other
 * signs for the same.
 *
 * @module
 */

/** A number, or one operation named after the tool that performs it. */
export type Expression =
  | { kind: "number"; value: number }
  | {
    kind: "operation";
    operator: "add" | "sub" | "mul" | "div";
    left: Expression;
    right: Expression;
  };

const TOKEN = /\s*(?:(\d[\d,]*\.?\d*|\.\d+)|([-+*/()%×÷xX\u2212\u2013]))/y;

/** "3 x 4" is 3 * 4; a minus sign and a dash are a hyphen. */
const SIGNS: Readonly<Record<string, string>> = {
  ...{ "×": "*", "x": "*", "X": "*", "÷": "/" },
  ...{ "\u2212": "-", "\u2013": "-" },
};

/** Deeper nesting than this is not arithmetic that a person wrote. */
const MAX_DEPTH = 100;

/**
 * Parses an expression; null on anything else. Multiplication may be left out before a
 * parenthesis, as in "2(3+4)"; "20%" is 0.2.
 */
export function parseExpression(text: string): Expression | null {
  const tokens = tokenize(text.replaceAll("$", ""));
  if (tokens === null) return null;
  try {
    return new Parser(tokens).parse();
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

type Token = number | string;

function tokenize(text: string): Token[] | null {
  const tokens: Token[] = [];
  const end = text.trimEnd().length;
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < end) {
    const match = TOKEN.exec(text);
    if (match === null) return null;
    if (match[1] !== undefined) tokens.push(Number(match[1].replaceAll(",", "")));
    else tokens.push(SIGNS[match[2]!] ?? match[2]!);
  }
  return tokens;
}

/** Recursive descent: sum -> product -> factor. */
class Parser {
  readonly #tokens: Token[];
  #position = 0;
  #depth = 0;

  constructor(tokens: Token[]) {
    this.#tokens = tokens;
  }

  parse(): Expression {
    const expression = this.#sum();
    if (this.#position < this.#tokens.length) throw new SyntaxError("Trailing tokens");
    return expression;
  }

  #accept(...wanted: string[]): string | null {
    const token = this.#tokens[this.#position];
    if (typeof token !== "string" || !wanted.includes(token)) return null;
    this.#position++;
    return token;
  }

  #sum(): Expression {
    if (++this.#depth > MAX_DEPTH) throw new SyntaxError("Nested too deeply");
    let left = this.#product();
    for (let sign; (sign = this.#accept("+", "-")) !== null;) {
      left = operation(sign === "+" ? "add" : "sub", left, this.#product());
    }
    this.#depth--;
    return left;
  }

  #product(): Expression {
    let left = this.#factor();
    while (true) {
      const sign = this.#accept("*", "/");
      if (sign !== null) left = operation(sign === "*" ? "mul" : "div", left, this.#factor());
      else if (this.#tokens[this.#position] === "(") left = operation("mul", left, this.#factor());
      else return left;
    }
  }

  #factor(): Expression {
    const sign = this.#accept("-", "+");
    if (sign !== null) {
      if (++this.#depth > MAX_DEPTH) throw new SyntaxError("Nested too deeply");
      const operand = this.#factor();
      this.#depth--;
      if (sign === "+") return operand;
      if (operand.kind === "number") return { kind: "number", value: -operand.value };
      return operation("sub", { kind: "number", value: 0 }, operand);
    }
    let factor: Expression;
    if (this.#accept("(") !== null) {
      factor = this.#sum();
      if (this.#accept(")") === null) throw new SyntaxError("Unclosed parenthesis");
    } else {
      const token = this.#tokens[this.#position++];
      if (typeof token !== "number") throw new SyntaxError("Expected a number");
      factor = { kind: "number", value: token };
    }
    if (this.#accept("%") === null) return factor;
    if (factor.kind === "number") return { kind: "number", value: factor.value / 100 };
    return operation("div", factor, { kind: "number", value: 100 });
  }
}

function operation(
  operator: "add" | "sub" | "mul" | "div",
  left: Expression,
  right: Expression,
): Expression {
  return { kind: "operation", operator, left, right };
}
