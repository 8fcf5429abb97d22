/**
 * What a teacher is told beside the settings of a run, with the flags for it.
 *
 * @module
 */

import { isRecord } from "../../text/json_value.ts";
import { ConfigError } from "../config/mod.ts";
import { flagName } from "../config/flags.ts";
import type { Budget, Prices } from "./ledger.ts";

/** Whom to ask, how much, and how fast. */
export interface TeachOptions {
  /**
   * Address of an endpoint that speaks OpenAI's chat completions, as `http://localhost:8000/v1`. The
   * model of that name is asked there; without an endpoint it runs here.
   */
  readonly endpoint?: string;
  /** Trajectories per task; default 1. More may be asked for later. */
  readonly samples?: number;
  /** Requests at a time; default 4. */
  readonly concurrency?: number;
  /** Requests that may be sent in any minute. */
  readonly requestsPerMinute?: number;
  /** Tokens that requests of any minute may take. */
  readonly tokensPerMinute?: number;
  /** Tokens after which no more requests are sent, counting those of earlier runs. */
  readonly budgetTokens?: number;
  /** Money after which no more requests are sent, by the prices. */
  readonly budgetMoney?: number;
  /** Money per million tokens sent. */
  readonly priceInput?: number;
  /** Money per million tokens produced. */
  readonly priceOutput?: number;
  /** How often a request is sent before its trajectory is given up for this run; default 6. */
  readonly attempts?: number;
  /** Variable of the environment that holds the key; default OPENAI_API_KEY. */
  readonly keyEnv?: string;
  /** The system message, in place of what asks for a line with the answer. */
  readonly system?: string;
  /** Further fields of every request, such as `max_completion_tokens`. */
  readonly request?: Readonly<Record<string, unknown>>;
  /** Milliseconds before the first repetition of a request; default 1000. They double each time. */
  readonly retryMs?: number;
  /** Aborting sends no more requests, and waits for those under way. */
  readonly signal?: AbortSignal;
  /** Called as trajectories end, with what they took so far, and while a model is loaded. */
  readonly onProgress?: (
    what: string,
    done: number,
    total: number,
    metrics?: Readonly<Record<string, number>>,
  ) => void;
}

type NumberName =
  | ("samples" | "concurrency" | "requestsPerMinute" | "tokensPerMinute" | "budgetTokens")
  | ("budgetMoney" | "priceInput" | "priceOutput" | "attempts");

const count = { whole: true, least: 1 };
const amount = { whole: false, least: 0 };

/** What numbers may be. */
const numbers: Readonly<Record<NumberName, { whole: boolean; least: number }>> = {
  samples: count,
  concurrency: count,
  requestsPerMinute: count,
  tokensPerMinute: count,
  budgetTokens: count,
  budgetMoney: amount,
  priceInput: amount,
  priceOutput: amount,
  attempts: count,
};

/** Options that mean nothing to a model that runs here. */
const ofEndpoints = [
  ...["concurrency", "requestsPerMinute", "tokensPerMinute", "budgetTokens", "budgetMoney"],
  ...["priceInput", "priceOutput", "attempts", "keyEnv", "request"],
] as const;

const help: Readonly<Record<NumberName | "endpoint" | "keyEnv" | "system" | "request", string>> = {
  endpoint:
    "Address of chat completions, as http://localhost:8000/v1; without, the model runs here",
  samples: "Trajectories per task (default 1)",
  concurrency: "Requests at a time (default 4)",
  requestsPerMinute: "Requests that may be sent in any minute",
  tokensPerMinute: "Tokens that requests of any minute may take",
  budgetTokens: "Tokens that may be spent, earlier runs included",
  budgetMoney: "Money that may be spent, by the prices",
  priceInput: "Money per million tokens sent",
  priceOutput: "Money per million tokens produced",
  attempts: "How often a request is sent at most (default 6)",
  keyEnv: "Variable of the environment that holds the key (default OPENAI_API_KEY)",
  system: "System message, in place of what asks for a line with the answer",
  request: `Further fields of each request, as JSON: '{"max_tokens": 2000}'`,
};

/** The flags of the command, with what they are for. */
export const teachFlags: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(help).map(([name, text]) => [flagName(name), text]),
);

/**
 * Options from the values of flags.
 *
 * @throws {ConfigError} if `--request` is no JSON object; {@linkcode checkOptions} sees to the rest.
 */
export function optionsOf(flags: Readonly<Record<string, string>>): TeachOptions {
  const options: Record<string, unknown> = {};
  for (const name of Object.keys(help)) {
    const text = flags[flagName(name)];
    if (text === undefined) continue;
    options[name] = Object.hasOwn(numbers, name)
      ? Number(text)
      : name === "request"
      ? readRequest(text)
      : text;
  }
  return options;
}

/**
 * Checks options, alone and together.
 *
 * @throws {ConfigError} naming the flag, its value and what is allowed
 */
export function checkOptions(options: TeachOptions): void {
  for (const [name, { whole, least }] of Object.entries(numbers)) {
    const value = options[name as NumberName];
    if (value === undefined) continue;
    if (whole ? Number.isSafeInteger(value) && value >= least : value >= least) continue;
    throw new ConfigError(
      `Cannot use --${flagName(name)} = ${value}: allowed is a ${whole ? "whole " : ""}number of ` +
        `at least ${least}`,
    );
  }
  const stray = ofEndpoints.find((name) => options[name] !== undefined);
  if (options.endpoint === undefined && stray !== undefined) {
    throw new ConfigError(
      `Cannot use --${
        flagName(stray)
      } without --endpoint: the model runs here. Name an endpoint, or ` +
        "leave it out",
    );
  }
  const { priceInput, priceOutput, budgetMoney } = options;
  if ((priceInput === undefined) !== (priceOutput === undefined)) {
    const missing = priceInput === undefined ? "price-input" : "price-output";
    throw new ConfigError(`Cannot tell costs without --${missing}: both prices are needed`);
  }
  if (budgetMoney !== undefined && priceInput === undefined) {
    throw new ConfigError(
      `Cannot keep to --budget-money ${budgetMoney} without prices: give --price-input and ` +
        "--price-output, in money per million tokens",
    );
  }
}

/** What may be spent. */
export function budgetOf(options: TeachOptions): Budget {
  const { budgetTokens: tokens = null, budgetMoney: money = null } = options;
  return { tokens, money, prices: pricesOf(options) };
}

/** The prices, where they are known. */
export function pricesOf({ priceInput: input, priceOutput: output }: TeachOptions): Prices | null {
  return input === undefined || output === undefined ? null : { input, output };
}

function readRequest(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Named below.
  }
  if (isRecord(value)) return value;
  throw new ConfigError(`Cannot use --request ${text}: allowed is a JSON object of fields`);
}
