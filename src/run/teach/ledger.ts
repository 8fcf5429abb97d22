/**
 * What a teacher has cost so far, and whether one more request may be sent.
 *
 * @module
 */

/** Tokens that a request takes. */
export interface Usage {
  /** Sent: conversation and tools. */
  readonly input: number;
  /** Produced by the teacher. */
  readonly output: number;
}

/** Money per million tokens, in any currency. */
export interface Prices {
  /** Of tokens sent. */
  readonly input: number;
  /** Of tokens produced. */
  readonly output: number;
}

/** What may be spent. */
export interface Budget {
  /** Tokens, sent and produced; null is no cap. */
  readonly tokens: number | null;
  /** Money, in the currency of the prices; null is no cap. */
  readonly money: number | null;
  /** Null where nobody named any. */
  readonly prices: Prices | null;
}

const NOTHING: Usage = { input: 0, output: 0 };
/** What an answer is taken to need before any has been seen, in tokens. */
const FIRST_OUTPUT = 256;

/** Adds up requests, by the name of the request. Only one of a name is under way at a time. */
export class Ledger {
  /** Requests sent. */
  requests = 0;
  /** Requests that were answered. */
  answers = 0;
  /** Requests that failed, refused or without an answer that can be used. */
  failures = 0;
  /** Requests whose answer was lost with the process that waited for it. */
  lost = 0;
  /** Answers whose tokens are an estimate. */
  estimated = 0;
  /** Tokens of answers, and of requests that may have been charged although none came. */
  spent: Usage = NOTHING;
  /** The longest answer, in tokens. */
  longest = FIRST_OUTPUT;
  readonly #pending = new Map<string, Usage>();
  #change = Promise.withResolvers<void>();

  /** Requests under way. */
  get pending(): number {
    return this.#pending.size;
  }

  /** What the requests under way are expected to take. */
  get reserved(): Usage {
    return this.#pending.values().reduce(plus, NOTHING);
  }

  /** Resolves when the next request has ended. */
  changed(): Promise<void> {
    return this.#change.promise;
  }

  /** A request is sent that is expected to take so much. */
  sent(name: string, expected: Usage): void {
    this.requests++;
    this.#pending.set(name, expected);
  }

  /** It is answered. @param usage null where the endpoint does not say */
  answered(name: string, usage: Usage, isEstimate: boolean): void {
    this.answers++;
    if (isEstimate) this.estimated++;
    this.spent = plus(this.spent, usage);
    this.longest = Math.max(this.longest, usage.output);
    this.#end(name);
  }

  /** It failed. @param charged whether it may have cost what it was expected to */
  failed(name: string, charged: boolean): void {
    this.failures++;
    if (charged) this.spent = plus(this.spent, this.#pending.get(name) ?? NOTHING);
    this.#end(name);
  }

  /** Something took tokens that was no request. */
  took(usage: Usage): void {
    this.spent = plus(this.spent, usage);
  }

  /** The process that waited for what is under way has ended. */
  abandon(): void {
    this.lost += this.#pending.size;
    this.spent = plus(this.spent, this.reserved);
    this.#pending.clear();
  }

  /** Whether a request that is expected to take so much keeps within the budget. */
  admits(expected: Usage, budget: Budget): boolean {
    const all = [this.spent, this.reserved, expected].reduce(plus);
    if (budget.tokens !== null && all.input + all.output > budget.tokens) return false;
    return budget.money === null || costOf(all, budget.prices!) <= budget.money;
  }

  #end(name: string): void {
    this.#pending.delete(name);
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }
}

/** Money for tokens. */
export function costOf({ input, output }: Usage, prices: Prices): number {
  return (input * prices.input + output * prices.output) / 1e6;
}

/**
 * Tokens of a text whose tokenizer nobody knows: one for three bytes, where English has one for four
 * and JSON one for three.
 */
export function estimatedTokens(text: string): number {
  return Math.ceil(new TextEncoder().encode(text).length / 3);
}

function plus(a: Usage, b: Usage): Usage {
  return { input: a.input + b.input, output: a.output + b.output };
}
