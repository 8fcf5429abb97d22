/**
 * One request to an endpoint that speaks OpenAI's chat completions, and what its answer means.
 *
 * Written over `fetch`: the `openai` package would add a second layer of retries and of errors that
 * quote headers and bodies, and takes whatever parses as JSON for a completion.
 *
 * @module
 */

import { retryAfter, rootMessage } from "../../io/http.ts";
import { ConfigError } from "../config/mod.ts";
import type { Usage } from "./ledger.ts";
import type { Message } from "./message.ts";

/** The teacher can't be had: the endpoint refuses what it is asked. */
export class TeacherError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "TeacherError";
}

/** A fault that may be gone when the request is repeated. */
export class PassingError extends Error {
  /** Whether it may have cost something: the endpoint was reached, and did not say no. */
  readonly charged: boolean;
  /** Milliseconds that the endpoint asks to be left alone for; null if it does not say. */
  readonly after: number | null;

  constructor(message: string, charged: boolean, after: number | null = null) {
    super(message);
    this.charged = charged;
    this.after = after;
  }
}

/** What an endpoint answers: the teacher's message, or why there is none for this conversation. */
export type Completion =
  | {
    /** As it came. */
    readonly message: Message;
    /** `finish_reason`: "length" is cut short. */
    readonly finish: string | null;
    /** Tokens that it took; null where the endpoint does not say. */
    readonly usage: Usage | null;
  }
  | { readonly refused: string };

/** How an endpoint is reached. */
export interface EndpointOptions {
  /** Where requests go: see {@linkcode completionsUrl}. */
  readonly url: URL;
  /** Sent to it and to nobody else; null where it asks for none. */
  readonly key: string | null;
  /** Milliseconds that an answer may take. */
  readonly timeoutMs?: number;
}

/** As long as OpenAI's own clients wait: thoughts take minutes. */
const TIMEOUT_MS = 600_000;
/** A key this short is a word as "EMPTY", which local servers are started with, and no secret. */
const SHORTEST_SECRET = 8;
const REPLACEMENT = "[key]";

/** Answers that differ from one conversation to the next, and say nothing of the endpoint. */
const ABOUT_CONVERSATION = /context[ _-]?(length|size|window)|content[ _-]?(filter|policy)/i;

/** An endpoint of chat completions. */
export class Endpoint {
  /** Where requests go. */
  readonly url: string;
  readonly #key: string | null;
  readonly #secret: RegExp | null;
  readonly #timeoutMs: number;

  /** @throws {ConfigError} if the key can't be one. */
  constructor({ url, key, timeoutMs = TIMEOUT_MS }: EndpointOptions) {
    this.url = url.href;
    if (key !== null && !/^[\x21-\x7e]+$/.test(key)) {
      throw new ConfigError("Cannot use the endpoint's key: a key has no spaces or line breaks");
    }
    this.#key = key;
    this.#secret = key === null || key.length < SHORTEST_SECRET ? null : spellingsOf(key);
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Asks for one completion. No error and no answer contains the key, whatever the endpoint says.
   *
   * @throws {PassingError} if repeating the request may help.
   * @throws {TeacherError} if no request will be answered as things are.
   */
  async complete(body: Readonly<Record<string, unknown>>): Promise<Completion> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.url, {
        method: "POST",
        // Where a redirect leads to nobody has asked for the key to be sent.
        redirect: "manual",
        headers: {
          "content-type": "application/json",
          "user-agent": "mentor",
          ...(this.#key === null ? {} : { authorization: `Bearer ${this.#key}` }),
        },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(this.#timeoutMs),
      });
      text = await response.text();
    } catch (error) {
      throw this.#unreached(error);
    }
    text = this.#withoutKey(text);
    const said = parsed(text);
    return response.ok ? readCompletion(said) : this.#refusal(response, said, text);
  }

  #unreached(error: unknown): Error {
    if (error instanceof Deno.errors.NotCapable) {
      return new TeacherError(`Cannot reach ${this.url}: ${error.message}`);
    }
    if (error instanceof DOMException && error.name === "TimeoutError") {
      return new PassingError(`no answer within ${this.#timeoutMs / 1000} s`, true);
    }
    const reason = this.#withoutKey(rootMessage(error));
    // Of a connection that never came about Deno's HTTP client says this, and nothing else tells.
    const connected = !reason.includes("client error (Connect)");
    return new PassingError(`the connection failed: ${reason}`, connected);
  }

  /** What an answer that says no amounts to. @throws unless it is about this conversation alone */
  #refusal({ status, headers }: Response, said: unknown, text: string): Completion {
    const { code, message } = faultOf(said);
    const words = clip(message ?? text);
    const reason = `the endpoint answered ${status}${words === "" ? "" : ` (${words})`}`;
    // Of an account without credit the same status says what waiting will not change.
    const broke = code === "insufficient_quota";
    if (!broke && (status === 408 || status === 409 || status === 429 || status >= 500)) {
      throw new PassingError(reason, false, retryAfter(headers, Date.now()));
    }
    if (status === 400 || status === 413 || status === 422) {
      if (ABOUT_CONVERSATION.test(`${code} ${message}`)) return { refused: words };
    }
    throw new TeacherError(`Cannot ask ${this.url}: ${reason}. ${remedy(status, broke)}`);
  }

  #withoutKey(text: string): string {
    return this.#secret === null ? text : text.replaceAll(this.#secret, REPLACEMENT);
  }
}

/**
 * Where requests go, from an address with or without the last part of that, `/chat/completions`.
 *
 * @throws {ConfigError} if it is none, or holds credentials.
 */
export function completionsUrl(address: string): URL {
  const url = URL.parse(address);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new ConfigError(
      `Cannot use endpoint "${address}": it is not an http or https address. Give one like ` +
        "http://localhost:8000/v1, to which /chat/completions is added",
    );
  }
  if (url.username !== "" || url.password !== "") {
    throw new ConfigError(
      `Cannot use an endpoint at ${url.host} with credentials in its address: put the key into the ` +
        "environment (--key-env names the variable)",
    );
  }
  url.hash = "";
  url.pathname = `${url.pathname.replace(/(\/chat\/completions)?\/*$/, "")}/chat/completions`;
  return url;
}

/**
 * A key however JSON may spell it: with characters as they are or escaped, also in JSON within JSON, as
 * the arguments of calls are.
 */
function spellingsOf(key: string): RegExp {
  const characters = Array.from(key, (character) => {
    const hex = character.charCodeAt(0).toString(16).padStart(2, "0");
    const anyCase = hex.replace(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`);
    const plain = character === "/" ? "\\\\*/" : `\\x${hex}`;
    return `(?:${plain}|\\\\+u00${anyCase})`;
  });
  return new RegExp(characters.join(""), "g");
}

/** Undefined if it is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @throws {PassingError} if it is no completion. */
function readCompletion(said: unknown): Completion {
  const { choices, usage } = (said ?? {}) as {
    choices?: unknown;
    usage?: Record<string, unknown> | null;
  };
  const [choice] = Array.isArray(choices) ? choices : [];
  const message = choice?.message;
  if (typeof message !== "object" || message === null) {
    const { message: fault } = faultOf(said);
    const what = said === undefined ? "is not JSON" : "has no message of the teacher";
    throw new PassingError(`the answer ${what}${fault === null ? "" : ` (${clip(fault)})`}`, true);
  }
  const { prompt_tokens: input, completion_tokens: output } = usage ?? {};
  return {
    message: { ...message, role: "assistant" },
    finish: typeof choice.finish_reason === "string" ? choice.finish_reason : null,
    usage: isCount(input) && isCount(output) ? { input, output } : null,
  };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && value >= 0;
}

/** Code and text of an error, in the forms that endpoints have for it. */
function faultOf(said: unknown): { code: string; message: string | null } {
  const { error, message } = (said ?? {}) as Record<string, unknown>;
  const inner = (typeof error === "object" ? error : null) as Record<string, unknown> | null;
  const text = [inner?.message, error, message].find((each) => typeof each === "string");
  const code = [inner?.code, inner?.type].find((each) => typeof each === "string");
  return { code: (code as string) ?? "", message: (text as string) ?? null };
}

function remedy(status: number, broke: boolean): string {
  if (broke || status === 402) return "Its account has no credit left: top it up, and go on";
  if (status === 401 || status === 403) {
    return "Check the key in the environment, and what it allows (--key-env names the variable)";
  }
  if (status === 404) return "Check --endpoint, which often ends with /v1, and --model";
  if (status >= 300 && status < 400) return "Give the address that it redirects to as --endpoint";
  return "Check --model, --request and the tools: what was sent is not what it takes";
}

function clip(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length <= 300 ? line : `${line.slice(0, 297)}...`;
}
