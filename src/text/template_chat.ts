/**
 * The chat format of a model that brings its own Jinja template.
 *
 * Templates render whole conversations, and most are not prefix-stable: Qwen3's drops the thinking
 * of earlier turns, others trim what the model wrote or write its calls anew. A rollout needs the
 * opposite, that adding a result changes no earlier token. So each piece is cut out of a rendering
 * of its own: results are what the template puts between the end of a turn with some call in it and
 * the opening of the next, and what was sampled stays as it was sampled.
 *
 * @module
 */

import type { PlannedCall, ToolCallFormat, ToolResult } from "./calls/format.ts";
import { toolJson } from "./calls/format.ts";
import { detectToolFormat, type ToolFormatName, toolFormats } from "./calls/mod.ts";
import type { ChatFormat, Turn } from "./chat_template.ts";
import { type Message, orderMessages, plannedCalls } from "./conversation.ts";
import { type ChatMessage, ChatTemplate, ChatTemplateError } from "./jinja_template.ts";
import { stopNames } from "./stop_names.ts";
import type { Tokenizer } from "./tokenizer.ts";
import type { ToolSpec } from "./tool_call.ts";
import { END_THINK, TextTurnStream, THINK, type TurnStream } from "./turn_stream.ts";

/** How {@linkcode templateChat} uses a template. */
export interface TemplateChatOptions {
  /** Jinja source; by default the tokenizer's own. */
  readonly template?: string;
  /** How the model writes calls; by default told by the template and the control tokens. */
  readonly format?: ToolFormatName;
  /** What the system message says; by default there is none, or what the template says itself. */
  readonly system?: string;
  /** Anything else that the template reads, such as `enable_thinking: false`. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** The date that templates such as Llama 3's put into the prompt; by default now. */
  readonly now?: Date;
}

/** Names that no template writes of its own accord. */
const PROBE = { tool: "probe_tool", call: "probe_call", text: "probe_text" } as const;
const probeTool: ToolSpec = {
  name: PROBE.tool,
  description: PROBE.tool,
  parameters: { type: "object", properties: {} },
};

/** Mistral's templates want nine letters or digits. */
const CALL_ID = "call00000";

/**
 * The chat format of a model with a Jinja template.
 *
 * Where the template has no place for tools (SmolLM2, Gemma 3), they go into the system message,
 * results into a user message, and calls into the text, all in the words of the call format.
 *
 * Text of users and tools is plain text, whatever it spells: see {@linkcode Tokenizer.escape}.
 *
 * @throws {ChatTemplateError} if there is no template, it is no Jinja, or it does not belong to the
 * tokenizer
 * @throws {RangeError} if there is no call format of that name
 */
export function templateChat(tokenizer: Tokenizer, options: TemplateChatOptions = {}): ChatFormat {
  return new TemplateChat(tokenizer, options);
}

class TemplateChat implements ChatFormat {
  readonly stops: readonly [number, number];
  readonly #tokenizer: Tokenizer;
  readonly #template: ChatTemplate;
  readonly #format: ToolCallFormat;
  readonly #variables: Readonly<Record<string, unknown>>;
  readonly #now: Date;
  readonly #system: string | undefined;
  /** The names of `stops`. */
  readonly #stopNames: readonly string[];
  /** Whether the template takes a system message. */
  readonly #takesSystem: boolean;
  /** Whether the template shows tools, calls and results by itself. */
  readonly #native: boolean;
  /** Whether the opening of a turn is that of a thought, too. */
  readonly #opensThought: boolean;

  constructor(tokenizer: Tokenizer, options: TemplateChatOptions) {
    const source = options.template ?? tokenizer.chatTemplate;
    if (source === null) {
      throw new ChatTemplateError(
        "Cannot talk to the model: its tokenizer has no chat template. Pass one as `template`, or " +
          "take a model that was trained to chat, often named -Instruct, -Chat or -it",
      );
    }
    this.#tokenizer = tokenizer;
    this.#template = new ChatTemplate(source);
    const format = options.format ?? detectToolFormat(source, (name) => tokenizer.hasToken(name));
    if (!Object.hasOwn(toolFormats, format)) {
      throw new RangeError(
        `Cannot read tool calls in format "${format}"; use one of ${
          Object.keys(toolFormats).join(", ")
        }`,
      );
    }
    this.#format = toolFormats[format];
    const named = (["bos_token", "eos_token"] as const).flatMap((role) => {
      const name = tokenizer.namedToken(role);
      return name === null ? [] : [[role, name]];
    });
    this.#variables = { ...Object.fromEntries(named), ...options.variables };
    this.#now = options.now ?? new Date();
    this.#system = options.system === undefined ? undefined : tokenizer.escape(options.system);
    this.#takesSystem = this.#renders([
      { role: "system", content: PROBE.text },
      { role: "user", content: "x" },
    ], [PROBE.text]);
    const asked = this.#asked("x", this.#system);
    const probes = [this.#called([{ name: PROBE.call, arguments: {} }]), {
      role: "tool",
      name: PROBE.call,
      tool_call_id: CALL_ID,
      content: PROBE.text,
    }];
    this.#native = this.#renders([...asked, ...probes], Object.values(PROBE), [probeTool]);
    this.#opensThought = this.#render(asked, this.#probeTools, true).trimEnd().endsWith(THINK);
    this.#stopNames = this.#findStops();
    const [first, second = first] = this.#stopNames.map((name) => tokenizer.token(name));
    this.stops = [first!, second!];
  }

  promptIds(prompt: string, tools: readonly ToolSpec[] = [], said?: string): Uint32Array {
    const system: Message[] = said === undefined ? [] : [{ role: "system", content: said }];
    return this.conversationIds([...system, { role: "user", content: prompt }], tools);
  }

  conversationIds(messages: readonly Message[], tools: readonly ToolSpec[] = []): Uint32Array {
    const { system: said, turns } = orderMessages(messages);
    const escaped = tools.map(({ name, description, parameters }) =>
      this.#escaped({ name, description, parameters })
    );
    const system = [
      this.#system,
      ...said.map((text) => this.#tokenizer.escape(text)),
      this.#native || tools.length === 0 ? undefined : this.#format.instructions(escaped),
    ].filter((part) => part !== undefined).join("\n\n");
    const [first, ...rest] = turns;
    const render = (native: (calls: number) => boolean) =>
      this.#render(
        [
          ...this.#asked(this.#tokenizer.escape(first!.content), system || undefined),
          ...this.#written(rest, escaped, native),
        ],
        this.#native ? escaped : [],
        true,
      );
    let text: string;
    try {
      text = render(() => this.#native);
    } catch (error) {
      // Llama 3's template refuses several calls in a turn; the model may still have made them.
      if (!(error instanceof ChatTemplateError) || !this.#native) throw error;
      text = render((calls) => calls < 2);
    }
    return this.#tokenizer.encodeTemplate(text);
  }

  /**
   * Messages as templates know them.
   *
   * @param native whether the template writes so many calls of a turn by itself
   */
  #written(
    messages: readonly Message[],
    tools: readonly ToolSpec[],
    native: (calls: number) => boolean,
  ): ChatMessage[] {
    const written: ChatMessage[] = [];
    let results: ToolResult[] = [];
    messages.forEach((message, i) => {
      const content = this.#tokenizer.escape(message.content);
      if (message.role === "tool") {
        results.push({ name: this.#tokenizer.escape(message.name), text: content });
        if (messages[i + 1]?.role === "tool") return;
        written.push(...this.#answered(results));
        results = [];
      } else if (message.role === "assistant" && message.calls?.length) {
        const calls = message.calls.map((call) => this.#escaped(call));
        if (native(calls.length)) written.push({ ...this.#called(calls), content });
        else {
          const text = this.#format.format(plannedCalls(calls, tools));
          const parts = [content, text].filter((part) => part !== "");
          written.push({ role: "assistant", content: parts.join("\n") });
        }
      } else written.push({ role: message.role, content });
    });
    return written;
  }

  callOpeningIds(tool?: ToolSpec): Uint32Array {
    const name = tool && this.#tokenizer.escape(tool.name);
    const thought = this.#opensThought ? `\n${END_THINK}\n\n` : "";
    return this.#tokenizer.encodeTemplate(thought + this.#format.opening(name));
  }

  callIds(calls: readonly PlannedCall[]): Uint32Array {
    const escaped = calls.map(({ spec, args }) => ({ spec, args: this.#escaped(args) }));
    const { stop } = this.#afterCall([{ name: PROBE.call, text: PROBE.text }]);
    const content = this.#format.format(escaped);
    const written = { role: "assistant", content };
    if (!this.#native) return this.#turnIds(written, content, stop);
    const message = this.#called(
      escaped.map(({ spec, args }) => ({ name: spec.name, arguments: args })),
    );
    try {
      return this.#turnIds(message, content, stop);
    } catch (error) {
      // Llama 3's template refuses several calls in a turn; the model may still make them.
      if (!(error instanceof ChatTemplateError) || calls.length < 2) throw error;
      return this.#turnIds(written, content, stop);
    }
  }

  answerIds(text: string): Uint32Array {
    const content = this.#tokenizer.escape(text);
    return this.#turnIds({ role: "assistant", content }, content, this.#stopNames[0]!);
  }

  resultIds(results: readonly ToolResult[]): Uint32Array {
    const { rest } = this.#afterCall(results.map((result) => this.#escaped(result)));
    return this.#tokenizer.encodeTemplate(rest);
  }

  followUpIds(prompt: string): Uint32Array {
    const { rest } = this.#behind(PROBE.text, [
      { role: "assistant", content: PROBE.text },
      { role: "user", content: this.#tokenizer.escape(prompt) },
    ]);
    return this.#tokenizer.encodeTemplate(rest);
  }

  readTurn(turn: ArrayLike<number>, tools: readonly ToolSpec[] = []): Turn {
    const ids = Array.from(turn);
    const stopped = this.stops.includes(ids.at(-1)!);
    if (stopped) ids.pop();
    const whole = this.#tokenizer.decode(ids);
    const other = {
      kind: "other",
      text: whole,
      calls: [],
      content: "",
      wellFormed: false,
    } as const;
    const thinks = this.#opensThought || whole.trimStart().startsWith(THINK);
    const end = thinks ? whole.indexOf(END_THINK) : 0;
    if (end < 0) return other;
    const thought = whole.slice(0, end).replace(THINK, "").trim();
    const said = thinks ? whole.slice(end + END_THINK.length) : whole;
    const { text, calls, clean } = this.#format.parse(said, tools);
    if (calls.length > 0) {
      const before = [thought, text.trim()].filter((part) => part !== "").join("\n");
      return { kind: "call", text: before, calls, content: "", wellFormed: stopped && clean };
    }
    if (!stopped) return other;
    const content = said.trim();
    const stray = ids.some((id) =>
      this.#tokenizer.isControl(id) && ![THINK, END_THINK].includes(this.#tokenizer.decode([id]))
    );
    const wellFormed = content !== "" && !stray;
    return { kind: "answer", text: thought, calls: [], content, wellFormed };
  }

  turnStream(calls: boolean): TurnStream {
    const tokenizer = this.#tokenizer;
    return new TextTurnStream({
      decoded: tokenizer.decodeStream(),
      control: (id) => tokenizer.isControl(id) ? tokenizer.decode([id]) : null,
      opensThought: this.#opensThought,
      callBegins: (text) => calls ? this.#format.begins(text) : { at: text.length, sure: false },
    });
  }

  /** The tools of a rendering that pieces are cut out of: some templates change without any. */
  get #probeTools(): readonly ToolSpec[] {
    return this.#native ? [probeTool] : [];
  }

  #render(messages: readonly ChatMessage[], tools: readonly ToolSpec[], open: boolean): string {
    return this.#template.render({
      messages,
      tools: tools.length > 0 ? tools.map(toolJson) : null,
      addGenerationPrompt: open,
      variables: this.#variables,
      now: this.#now,
    });
  }

  #renders(messages: ChatMessage[], words: readonly string[], tools: ToolSpec[] = []): boolean {
    try {
      const text = this.#render(messages, tools, true);
      return words.every((word) => text.includes(word));
    } catch (error) {
      if (error instanceof ChatTemplateError) return false;
      throw error;
    }
  }

  /** The token that ends a turn with a call, and all that the template writes behind it. */
  #afterCall(results: readonly ToolResult[]): { stop: string; rest: string } {
    const made = this.#native
      ? this.#called([{ name: PROBE.call, arguments: {} }])
      : { role: "assistant", content: PROBE.call };
    return this.#behind(PROBE.call, [made, ...this.#answered(results)]);
  }

  /** What the tools of one turn answered. */
  #answered(results: readonly ToolResult[]): ChatMessage[] {
    if (!this.#native) return [{ role: "user", content: this.#format.results(results) }];
    return results.map(({ name, text }) => ({
      role: "tool",
      name,
      tool_call_id: CALL_ID,
      content: text,
    }));
  }

  /** The token that ends a turn with `mark` in it, and all that the template writes behind it. */
  #behind(mark: string, messages: readonly ChatMessage[]): { stop: string; rest: string } {
    const text = this.#render([...this.#asked("x"), ...messages], this.#probeTools, true);
    const marked = text.indexOf(mark);
    const [first] = this.#stopNames
      .map((stop) => ({ stop, at: text.indexOf(stop, marked) }))
      .filter(({ at }) => at >= 0)
      .sort((a, b) => a.at - b.at);
    if (marked >= 0 && first) {
      return { stop: first.stop, rest: text.slice(first.at + first.stop.length) };
    }
    throw new ChatTemplateError(
      `Cannot go on behind a turn of the model: the template ends it with none of ${
        this.#stopNames.join(" ")
      }. Pass another template as \`template\``,
    );
  }

  /** The messages up to the user's. */
  #asked(prompt: string, system?: string): ChatMessage[] {
    if (system === undefined) return [{ role: "user", content: prompt }];
    if (!this.#takesSystem) return [{ role: "user", content: `${system}\n\n${prompt}` }];
    return [{ role: "system", content: system }, { role: "user", content: prompt }];
  }

  #called(
    calls: readonly { name: string; arguments: Readonly<Record<string, unknown>> }[],
  ): ChatMessage {
    return {
      role: "assistant",
      content: "",
      tool_calls: calls.map((call) => ({ id: CALL_ID, type: "function", function: call })),
    };
  }

  /**
   * What the model is to produce for a message to be this one, with its stop token.
   *
   * @param content what to write where the template does not go on from the opening of a turn, as
   * where the opening has a `<think>` that finished turns lack
   * @param stop the stop token where the template writes none
   */
  #turnIds(message: ChatMessage, content: string, stop: string): Uint32Array {
    const opened = this.#render(this.#asked("x"), this.#probeTools, true);
    const whole = this.#render([...this.#asked("x"), message], this.#probeTools, false);
    let text = this.#opensThought ? `\n${END_THINK}\n\n${content}` : content;
    if (whole.startsWith(opened)) text = whole.slice(opened.length);
    const end = Math.max(...this.#stopNames.map((name) => {
      const at = text.lastIndexOf(name);
      return at < 0 ? -1 : at + name.length;
    }));
    text = end < 0 ? text.trimEnd() + stop : text.slice(0, end);
    return this.#tokenizer.encodeTemplate(text);
  }

  /** The token with which the template ends an answer, and another that the model may end with. */
  #findStops(): string[] {
    const answered = [...this.#asked("x"), { role: "assistant", content: PROBE.text }];
    const text = this.#render(answered, this.#probeTools, false);
    const rest = text.slice(text.lastIndexOf(PROBE.text) + PROBE.text.length);
    return stopNames(this.#tokenizer, rest);
  }

  /** Every text inside of a value, keys included, as plain text. */
  #escaped<T>(value: T): T {
    const escape = (each: unknown): unknown => {
      if (typeof each === "string") return this.#tokenizer.escape(each);
      if (Array.isArray(each)) return each.map(escape);
      if (typeof each !== "object" || each === null) return each;
      return Object.fromEntries(
        Object.entries(each).map(([key, inner]) => [this.#tokenizer.escape(key), escape(inner)]),
      );
    };
    return escape(value) as T;
  }
}
