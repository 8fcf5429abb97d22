/**
 * The child's side of the conversation: one JSON line in, one JSON line out, until stdin ends.
 *
 * The files of this folder run in the subprocess. The parent copies their texts to a folder of their
 * own, so they import nothing but each other, and types.
 *
 * @module
 */

/** The parent's first line: how to start. */
export interface Opening<Setup> {
  readonly nonce: string;
  readonly setup: Setup;
}

/** The parent's further lines: what to run. */
export interface Request {
  /** Comes back with the reply, so that nothing said before can be taken for it. */
  readonly nonce: string;
  /** What the episode ran before; its output has been seen already. */
  readonly before: readonly string[];
  readonly code: string;
}

/** What became of it. */
export interface Reply {
  /** "crashed" where the interpreter broke down, so that what ran before is lost as well. */
  readonly status: "ok" | "error" | "memory" | "output" | "crashed";
  /** The last expression as the language writes it; null where there is nothing to show. */
  readonly value: string | null;
  /** What was printed. */
  readonly stdout: string;
  readonly error: string | null;
  /** Whether the process is of no use any more. */
  readonly spent: boolean;
}

/** What runs the code of calls, one after the other. */
export interface Interpreter {
  run(request: Request): Reply | Promise<Reply>;
  /** Forgets all that a call did; happens after its reply, before the next request. */
  reset(): void;
}

/** Answers the opening line, and then every request. */
export async function serve<Setup>(open: (setup: Setup) => Promise<Interpreter>): Promise<void> {
  // Ctrl-C goes to all processes of a terminal; when this one ends is the parent's business.
  Deno.addSignalListener("SIGINT", () => {});
  const { parse, stringify } = JSON;
  const { stdin, stdout } = Deno;
  const encoder = new TextEncoder();
  const say = (message: unknown) => {
    let rest = encoder.encode(`${stringify(message)}\n`);
    while (rest.length > 0) rest = rest.subarray(stdout.writeSync(rest));
  };
  let interpreter: Interpreter | null = null;
  for await (const line of lines(stdin.readable)) {
    if (interpreter === null) {
      const { nonce, setup } = parse(line) as Opening<Setup>;
      interpreter = await open(setup);
      say({ nonce });
    } else {
      const request = parse(line) as Request;
      say({ nonce: request.nonce, reply: await interpreter.run(request) });
      interpreter.reset();
    }
  }
}

/** The lines of a stream, without their ends. */
async function* lines(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop()!;
    yield* parts;
  }
}
