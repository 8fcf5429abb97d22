// An OpenAI-compatible endpoint on loopback, whose teacher answers by the content of requests alone.

/** A request as the endpoint saw it. */
export interface Asked {
  readonly body: {
    readonly model: string;
    readonly messages: readonly Record<string, unknown>[];
    readonly tools?: readonly { function: { name: string } }[];
    readonly seed?: number;
    readonly [field: string]: unknown;
  };
  readonly authorization: string | null;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** How many came before it. */
  readonly index: number;
  /** Whether the answer left the endpoint as a whole. */
  delivered: boolean;
}

/** What a teacher says: a text, or calls. */
export type Said = string | Record<string, unknown>;

/** An endpoint, served until it is disposed. */
export class FakeEndpoint implements AsyncDisposable {
  readonly asked: Asked[] = [];
  /** Answers in place of the teacher, or leaves a request to it. */
  hook: (asked: Asked) => Response | undefined | Promise<Response | undefined> = () => undefined;
  /** Milliseconds that an answer takes. */
  delay: (asked: Asked) => number = () => 0;
  /** Tokens that the endpoint claims an answer took. */
  usage: unknown = { prompt_tokens: 100, completion_tokens: 20 };
  /** The most requests that were under way together. */
  most = 0;
  #underWay = 0;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(teacher: (asked: Asked) => Said = solve) {
    const options = {
      ...{ port: 0, hostname: "127.0.0.1", onListen() {} },
      onError: () => new Response(null),
    };
    this.#server = Deno.serve(options, async (request, { completed }) => {
      const asked: Asked = {
        body: await request.json(),
        authorization: request.headers.get("authorization"),
        at: Date.now(),
        index: this.asked.length,
        delivered: false,
      };
      this.asked.push(asked);
      completed.then(() => asked.delivered = true, () => {});
      this.most = Math.max(this.most, ++this.#underWay);
      try {
        await new Promise((resolve) => setTimeout(resolve, this.delay(asked)));
        return await this.hook(asked) ?? completion(teacher(asked), this.usage);
      } finally {
        this.#underWay--;
      }
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/v1`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** A completion that says something. */
export function completion(said: Said, usage: unknown, finish = "stop"): Response {
  const message = typeof said === "string" ? { role: "assistant", content: said } : said;
  const choices = [{ index: 0, message, finish_reason: finish }];
  return Response.json({ id: "chatcmpl-1", object: "chat.completion", choices, usage });
}

/** A message that calls tools. */
export function calling(...calls: [name: string, args: unknown][]): Record<string, unknown> {
  return {
    role: "assistant",
    content: null,
    tool_calls: calls.map(([name, args], i) => ({
      id: `call_${i}`,
      type: "function",
      function: { name, arguments: typeof args === "string" ? args : JSON.stringify(args) },
    })),
  };
}

/** What tools answered so far. */
export function results({ body }: Asked): string[] {
  return body.messages.filter(({ role }) => role === "tool").map(({ content }) => String(content));
}

/** The user's words. */
export function promptOf({ body }: Asked): string {
  return String(body.messages.find(({ role }) => role === "user")!.content);
}

/**
 * A teacher of "A plus B times C", from the left: it adds, multiplies the result, and says so. With an
 * odd seed it turns the product round, and with every fifth it is wrong.
 */
export function solve(asked: Asked): Said {
  const [a, b, c] = promptOf(asked).match(/\d+/g)!.map(Number) as [number, number, number];
  const seed = asked.body.seed ?? 1;
  const [sum, product] = results(asked);
  if (sum === undefined) return calling(["add", { a, b }]);
  if (product === undefined) {
    return calling(["mul", seed % 2 === 1 ? { a: c, b: Number(sum) } : { a: Number(sum), b: c }]);
  }
  return `That makes ${product}.\n\n**Answer:** ${seed % 5 === 0 ? Number(product) + 1 : product}`;
}

/** Tasks for {@linkcode solve}, as a task file. */
export function sums(count: number): string {
  return Array.from({ length: count }, (_, i) => {
    const [a, b, c] = [i + 2, 2 * i + 3, i % 7 + 2];
    const prompt = `${a} plus ${b} times ${c}`;
    return `${JSON.stringify({ id: `sum-${i}`, prompt, answer: (a + b) * c })}\n`;
  }).join("");
}
