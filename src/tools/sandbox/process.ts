/**
 * One subprocess that answers calls, and what becomes of it.
 *
 * @module
 */

import { ToolUnavailableError } from "../tool.ts";
import type { Opening, Reply, Request } from "./child/loop.ts";

/** What a call came to. */
export type Answer = { readonly kind: "reply"; readonly reply: Reply } | Silence;

/** Why there is no reply. */
type Silence =
  | { readonly kind: "timeout" }
  /** The process ended, or said what it should not have and was ended. */
  | { readonly kind: "gone"; readonly reason: string; readonly outOfMemory: boolean };

/** What the process was asked and has not answered. */
interface Question {
  readonly nonce: string;
  /** Takes the answer; false if it does not keep to the protocol. */
  take(answer: Record<string, unknown>): boolean;
  /** There won't be one. */
  giveUp(silence: Silence): void;
}

/** Milliseconds that a process may take to start on a busy machine. */
const START_MS = 60_000;

/** How much of stderr is kept, from its end: it tells how a process died. */
const STDERR_CHARS = 4096;

/** A subprocess that runs a program of child/. Whatever it does, it is only ever read and killed. */
export class SandboxProcess {
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  /** Longest line that it may send, in characters. */
  readonly #lineChars: number;
  readonly #ended: Promise<void>;
  #question: Question | null = null;
  #line = "";
  #stderr = "";
  /** Why it is of no use any more; null while it is. */
  #gone: string | null = null;
  #busyMs = 0;

  private constructor(child: Deno.ChildProcess, lineChars: number) {
    this.#child = child;
    this.#stdin = child.stdin.getWriter();
    this.#lineChars = lineChars;
    this.#ended = this.#watch();
  }

  /**
   * Waits until a child is ready.
   *
   * @param setup what its program needs to know
   * @param lineChars longest line that it may send
   * @throws {ToolUnavailableError} if it does not get ready
   */
  static async start(
    child: Deno.ChildProcess,
    setup: unknown,
    lineChars: number,
  ): Promise<SandboxProcess> {
    const process = new SandboxProcess(child, lineChars);
    const opening: Opening<unknown> = { nonce: crypto.randomUUID(), setup };
    const isReady = ({ reply }: Record<string, unknown>) =>
      reply === undefined ? { kind: "ready" } as const : null;
    const answer = await process.#ask(opening, START_MS, isReady);
    if (answer.kind === "ready") return process;
    await process.end();
    const reason = answer.kind === "gone" ? answer.reason : `it was not ready in ${START_MS} ms`;
    throw new ToolUnavailableError(
      `Cannot start a process of the sandbox: ${reason}. ${process.#stderr}`.trim(),
    );
  }

  /** Whether it can take a call. */
  get usable(): boolean {
    return this.#gone === null;
  }

  /** Wall time of its calls, in ms. */
  get busyMs(): number {
    return this.#busyMs;
  }

  /** Runs code. After anything but a reply, and after one that says "spent", it is to be ended. */
  async run(work: Omit<Request, "nonce">, timeoutMs: number): Promise<Answer> {
    const begin = performance.now();
    const request: Request = { nonce: crypto.randomUUID(), ...work };
    const answer = await this.#ask(request, timeoutMs, parseReply);
    this.#busyMs += performance.now() - begin;
    return answer;
  }

  /** Kills it. */
  kill(): void {
    this.#kill("it was ended");
  }

  /** Kills it, and waits until it is gone. */
  async end(): Promise<void> {
    this.kill();
    this.#hold(true);
    await this.#ended;
  }

  async #ask<T>(
    message: Opening<unknown> | Request,
    timeoutMs: number,
    parse: (answer: Record<string, unknown>) => T | null,
  ): Promise<T | Silence> {
    if (!this.usable) return this.#farewell();
    const { promise, resolve } = Promise.withResolvers<T | Silence>();
    this.#question = {
      nonce: message.nonce,
      take: (answer) => {
        const parsed = parse(answer);
        if (parsed !== null) resolve(parsed);
        return parsed !== null;
      },
      giveUp: resolve,
    };
    const timer = setTimeout(() => {
      resolve({ kind: "timeout" });
      this.#kill("it took too long");
    }, timeoutMs);
    this.#hold(true);
    try {
      const line = new TextEncoder().encode(`${JSON.stringify(message)}\n`);
      // A process that does not read any more says so by its end.
      this.#stdin.write(line).catch(() => {});
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#question = null;
      if (this.usable) this.#hold(false);
    }
  }

  /** Whether the program waits for the process: an idle one keeps nobody's program from ending. */
  #hold(waits: boolean): void {
    try {
      if (waits) this.#child.ref();
      else this.#child.unref();
    } catch {
      // It has ended already.
    }
  }

  /** Follows it to its end. */
  async #watch(): Promise<void> {
    const [{ code, signal }] = await Promise.all([
      this.#child.status,
      this.#readOutput(),
      this.#readErrors(),
    ]);
    this.#gone ??= signal ? `it was ended by ${signal}` : `it exited with code ${code}`;
    this.#question?.giveUp(this.#farewell());
    await this.#stdin.abort().catch(() => {});
  }

  async #readOutput(): Promise<void> {
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      if (this.usable) this.#receive(text);
    }
  }

  async #readErrors(): Promise<void> {
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      this.#stderr = (this.#stderr + text).slice(-STDERR_CHARS);
    }
  }

  #receive(text: string): void {
    if (!this.#question) return this.#kill("it spoke without being asked");
    this.#line += text;
    if (this.#line.length > this.#lineChars) return this.#kill("its reply is too long");
    // What came before has been looked through.
    const end = text.indexOf("\n");
    if (end < 0) return;
    const { nonce, take } = this.#question;
    const answer = end === text.length - 1 ? parseLine(this.#line) : null;
    if (answer?.nonce !== nonce || !take(answer)) {
      return this.#kill("it did not keep to the protocol");
    }
    this.#line = "";
    this.#question = null;
  }

  #kill(reason: string): void {
    this.#gone ??= reason;
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
  }

  #farewell(): Silence {
    const outOfMemory = /out of memory|memory allocation of/i.test(this.#stderr);
    return { kind: "gone", reason: this.#gone!, outOfMemory };
  }
}

function parseLine(line: string): Record<string, unknown> | null {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

function parseReply(answer: Record<string, unknown>): Answer | null {
  const reply = answer.reply as Partial<Record<keyof Reply, unknown>> | undefined;
  const isText = (value: unknown) => typeof value === "string";
  const isReply = ["ok", "error", "memory", "output", "crashed"].includes(`${reply?.status}`) &&
    isText(reply!.stdout) && (reply!.value === null || isText(reply!.value)) &&
    (reply!.error === null || isText(reply!.error)) && typeof reply!.spent === "boolean";
  return isReply ? { kind: "reply", reply: reply as Reply } : null;
}
