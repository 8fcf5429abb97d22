/**
 * A conversation at the terminal: the user asks, the model answers as it goes, and the tools that it
 * calls run for real.
 *
 * @module
 */

import { Generator } from "../model/generator.ts";
import type { SamplingOptions } from "../ops/sample.ts";
import type { ParsedCall } from "../text/tool_call.ts";
import { runCall } from "../tools/run_call.ts";
import type { Tool } from "../tools/tool.ts";
import { openAdapter } from "./adapter.ts";
import type { RunConfig } from "./config/mod.ts";
import { loadStudent, type Student } from "./student.ts";
import { openTools } from "./tools/mod.ts";

/** How a conversation is held. */
export interface ChatOptions extends SamplingOptions {
  /** Longest conversation in tokens, tool results included. */
  readonly maxTokens: number;
  /** Tool calls per answer. */
  readonly maxCalls: number;
  /** Takes what is to be shown: text of the model as it comes, and lines about calls. */
  readonly write: (text: string) => void;
}

/** A conversation that goes on. */
export class Chat implements Disposable {
  readonly #student: Student;
  readonly #tools: readonly Tool[];
  readonly #options: ChatOptions;
  readonly #generator: Generator;
  #ids = new Uint32Array();
  /** What tools know the conversation by. */
  #identity = Object.freeze({});

  /** @throws {RangeError} if the conversation is to be longer than the model's context. */
  constructor(student: Student, tools: readonly Tool[], options: ChatOptions) {
    this.#student = student;
    this.#tools = tools;
    this.#options = options;
    const { stops } = student.chat;
    // One token at a time is what somebody who reads along wants.
    const shape = { slots: 1, length: options.maxTokens, stepsPerRead: 1 };
    this.#generator = new Generator(student.model, { ...shape, stops });
  }

  /** Tokens so far. */
  get length(): number {
    return this.#ids.length;
  }

  /** Forgets everything. */
  clear(): void {
    this.#ids = new Uint32Array();
    this.#identity = Object.freeze({});
  }

  /**
   * Lets the model answer.
   *
   * @returns its answer; null if it ended otherwise, or there was no more room
   * @throws {RangeError} if the prompt does not fit.
   */
  async ask(prompt: string): Promise<string | null> {
    const { chat, tokenizer } = this.#student;
    const { maxTokens, maxCalls, write } = this.#options;
    const asked = this.#ids.length === 0
      ? chat.promptIds(prompt, this.#tools)
      : chat.followUpIds(prompt);
    const history = [...this.#ids, ...asked];
    if (history.length >= maxTokens) {
      throw new RangeError(
        `Cannot go on: the conversation has ${history.length} tokens, rollout.maxTokens is ` +
          `${maxTokens}. Begin anew with /clear, or raise it`,
      );
    }
    const note = (text: string) => write(`\n(${text})`);
    let answer: string | null = null;
    let calls = 0;
    let stream = tokenizer.decodeStream({ skipSpecial: true });
    await this.#generator.run([{
      prompt: Uint32Array.from(history),
      stream: history.length,
      limit: maxTokens,
      onToken: (token) => write(stream.push(token)),
      onTurn: async ({ tokens, reason }) => {
        write(stream.end());
        stream = tokenizer.decodeStream({ skipSpecial: true });
        history.push(...tokens);
        if (reason === "length") {
          note("the conversation is as long as it may get: /clear begins anew");
          return null;
        }
        const turn = chat.readTurn(tokens, this.#tools);
        if (turn.kind !== "call") {
          answer = turn.kind === "answer" ? turn.content : null;
          return null;
        }
        const results = [];
        for (const call of turn.calls.length > 0 ? turn.calls : [null]) {
          if (++calls > maxCalls) {
            note(`more than rollout.maxCalls = ${maxCalls} calls for one answer`);
            return null;
          }
          results.push({ name: call?.name ?? "", text: await this.#call(call) });
        }
        const fed = chat.resultIds(results);
        history.push(...fed);
        return fed;
      },
    }], this.#options);
    write("\n");
    this.#ids = Uint32Array.from(history);
    return answer;
  }

  async #call(call: ParsedCall | null): Promise<string> {
    const { text } = await runCall(call, this.#tools, { episode: this.#identity });
    const shown = call === null ? "?" : `${call.name}(${JSON.stringify(call.arguments ?? {})})`;
    this.#options.write(`\n  ${shown} -> ${text}\n`);
    return text;
  }

  /** Frees the cache. */
  [Symbol.dispose](): void {
    this.#generator[Symbol.dispose]();
  }
}

/** Tokens of a conversation, where nobody says how long it may get. */
const LONGEST = 4096;

/** What a conversation's own commands are. */
const HELP = "/clear forgets the conversation, /exit ends it";

/**
 * Holds a conversation line by line until there are no more lines or one says `/exit`.
 *
 * @param lines what the user types
 * @param ask called before each line, to show a prompt
 */
export async function holdConversation(
  conversation: Chat,
  lines: AsyncIterable<string>,
  write: (text: string) => void,
  ask: () => void,
): Promise<void> {
  write(HELP);
  ask();
  for await (const line of lines) {
    const text = line.trim();
    if (text === "/exit") return;
    if (text === "/clear") conversation.clear();
    else if (text.startsWith("/")) write(`There is no command "${text}": ${HELP}`);
    else if (text !== "") {
      try {
        await conversation.ask(text);
      } catch (error) {
        // Too long a conversation is the user's to shorten; it is not lost.
        if (!(error instanceof RangeError)) throw error;
        write(error.message);
      }
    }
    ask();
  }
}

/** The lines of a byte stream. */
export async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest !== "") yield rest;
}

/**
 * Talks to the model of `config.from` at the terminal until the user has had enough.
 *
 * @param sampled whether to draw tokens at the config's temperature, and not the likeliest
 */
export async function chatAtTerminal(
  config: RunConfig,
  { sampled, onProgress, write: note }: {
    readonly sampled: boolean;
    readonly onProgress: (what: string, done: number, total: number) => void;
    readonly write: (text: string) => void;
  },
): Promise<void> {
  const { dtype, tools, seed, rollout, chat } = config;
  // A name that is wrong is told before gigabytes are read.
  await using box = await openTools(tools);
  using gpu = await openAdapter(config);
  using student = await loadStudent(gpu, config.from, { dtype, chat, onProgress });
  const write = (text: string) => void Deno.stdout.writeSync(new TextEncoder().encode(text));
  const { topK, topP, maxCalls, maxTokens, temperature } = rollout;
  using conversation = new Chat(
    student,
    box.tools,
    {
      ...{ topK, topP, maxCalls, seed, write },
      temperature: sampled ? temperature : 0,
      maxTokens: maxTokens ?? Math.min(student.model.config.maxPositions, LONGEST),
    },
  );
  const ask = Deno.stdin.isTerminal() ? () => write("> ") : () => {};
  await holdConversation(conversation, linesOf(Deno.stdin.readable), note, ask);
}
