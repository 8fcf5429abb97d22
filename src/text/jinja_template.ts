/**
 * The Jinja templates that models bring along, rendered as Python's `apply_chat_template` does.
 *
 * @module
 */

import { Environment, Interpreter, Template } from "@huggingface/jinja";

/** A model has no chat template, or one that cannot do what is asked; the message has the remedy. */
export class ChatTemplateError extends Error {
  /** Tells this error from others. */
  override name = "ChatTemplateError";
}

/** A message as templates know it: `role`, `content`, `tool_calls` and whatever else they read. */
export interface ChatMessage {
  /** Usually `system`, `user`, `assistant` or `tool`. */
  readonly role: string;
  /** What was said. */
  readonly content?: string | null;
  /** Calls of an assistant. */
  readonly tool_calls?: readonly {
    readonly id?: string;
    readonly type: "function";
    readonly function: {
      readonly name: string;
      readonly arguments: Readonly<Record<string, unknown>>;
    };
  }[];
  /** Anything else, such as the tool's `name` with a result, or `reasoning_content`. */
  readonly [key: string]: unknown;
}

/** What a template renders. */
export interface ChatInput {
  /** The conversation. */
  readonly messages: readonly ChatMessage[];
  /** Tools as `{ type: "function", function: { name, description, parameters } }`. */
  readonly tools?: readonly unknown[] | null;
  /** Whether to open the model's next turn. */
  readonly addGenerationPrompt?: boolean;
  /** Anything else a template reads: `bos_token`, `enable_thinking`, `date_string` ... */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** What `strftime_now` tells, in local time; by default the time of rendering. */
  readonly now?: Date;
}

/** A compiled chat template. */
export class ChatTemplate {
  readonly #template: Template;

  /**
   * Compiles a template.
   *
   * @throws {ChatTemplateError} if the text is no Jinja template
   */
  constructor(source: string) {
    try {
      this.#template = new Template(source);
    } catch (error) {
      throw new ChatTemplateError(
        `Cannot read the chat template: ${(error as Error).message}. Pass another as \`template\``,
        { cause: error },
      );
    }
  }

  /**
   * Renders a conversation.
   *
   * The text is Python's, with two exceptions that JavaScript's values force: a float without a
   * fraction reads as an integer (1.0 as 1), and keys that look like integers come first.
   *
   * @throws {ChatTemplateError} if the template refuses, by `raise_exception` or otherwise
   */
  render(
    { messages, tools = null, addGenerationPrompt = false, variables = {}, now }: ChatInput,
  ): string {
    const environment = new Environment();
    const globals: Record<string, unknown> = {
      ...{ true: true, false: false, none: null, True: true, False: false, None: null },
      range,
      raise_exception(message: string) {
        throw new Error(message);
      },
      // The library's own takes the names of months from the machine's locale.
      strftime_now: (format: string) => strftime(now ?? new Date(), format),
      // As Transformers does: a key that says null is a key that is not there.
      messages: messages.map((message) =>
        Object.fromEntries(Object.entries(message).filter(([, value]) => value != null))
      ),
      tools,
      add_generation_prompt: addGenerationPrompt,
    };
    try {
      for (const [name, value] of Object.entries({ ...globals, ...variables })) {
        environment.set(name, value);
      }
      const result = new Interpreter(environment).run(this.#template.parsed);
      return String(result.value);
    } catch (error) {
      throw new ChatTemplateError(
        `Cannot render the chat template: ${(error as Error).message}. Check the roles and their ` +
          "order, or pass another template as `template`",
        { cause: error },
      );
    }
  }
}

function range(first: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, first] : [first, stop];
  return Array.from(
    { length: Math.max(0, Math.ceil((to - from) / step)) },
    (_, i) => from + i * step,
  );
}

const months =
  "January February March April May June July August September October November December"
    .split(" ");
const days = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/** Python's `strftime` in the C locale. */
function strftime(date: Date, format: string): string {
  const padded = (value: number, width = 2) => String(value).padStart(width, "0");
  const start = new Date(date.getFullYear(), 0, 1);
  const fields: Record<string, () => string> = {
    Y: () => String(date.getFullYear()),
    y: () => padded(date.getFullYear() % 100),
    m: () => padded(date.getMonth() + 1),
    B: () => months[date.getMonth()]!,
    b: () => months[date.getMonth()]!.slice(0, 3),
    d: () => padded(date.getDate()),
    j: () => padded(Math.round((date.getTime() - start.getTime()) / 86_400_000 + 0.5), 3),
    A: () => days[date.getDay()]!,
    a: () => days[date.getDay()]!.slice(0, 3),
    H: () => padded(date.getHours()),
    I: () => padded(date.getHours() % 12 || 12),
    p: () => date.getHours() < 12 ? "AM" : "PM",
    M: () => padded(date.getMinutes()),
    S: () => padded(date.getSeconds()),
    "%": () => "%",
  };
  return format.replace(/%([A-Za-z%])/g, (whole, field: string) => fields[field]?.() ?? whole);
}
