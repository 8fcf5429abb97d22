/**
 * A contender seen from the parent: a child process that is started, asked for repetitions one by
 * one, and closed or killed. The other side is described in protocol.ts.
 *
 * @module
 */

import { lines, type Result } from "./protocol.ts";

/** How to start a child process. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** How long a contender may take before it is killed. */
export interface TimeLimits {
  /** To load, compile and warm up, in ms. */
  readonly startMs: number;
  /** For one repetition, in ms. */
  readonly runMs: number;
}

/** A contender that can't do the work, crashed or took too long; the message says which. */
export class ContenderError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "ContenderError";
}

/** Characters of stderr that are kept to explain a crash. */
const KEPT = 4000;

/** A running contender that is warm. */
export class Contender {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #output: AsyncGenerator<string>;
  readonly #draining: Promise<void>;
  readonly #limits: TimeLimits;
  #complaints = "";
  #greeting: Readonly<Record<string, unknown>> = {};

  private constructor(command: Command, limits: TimeLimits) {
    const { program, args, env } = command;
    this.#child = new Deno.Command(program, {
      args: [...args],
      env: { ...env, NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#output = lines(this.#child.stdout);
    this.#draining = this.#drain();
    this.#limits = limits;
  }

  /**
   * Starts a contender and waits until it is warm.
   *
   * @throws {ContenderError} if it reports an error, ends, or is not ready in time.
   */
  static async start(command: Command, limits: TimeLimits): Promise<Contender> {
    let contender: Contender;
    try {
      contender = new Contender(command, limits);
    } catch (error) {
      throw new ContenderError(`could not be started: ${(error as Error).message}`);
    }
    contender.#greeting = await contender.#receive("ready", limits.startMs);
    return contender;
  }

  /** What it said when it was ready. */
  get greeting(): Readonly<Record<string, unknown>> {
    return this.#greeting;
  }

  /** What it computed before its repetitions. */
  get value(): Result["value"] {
    return valueOf(this.#greeting["value"]);
  }

  /**
   * One timed repetition.
   *
   * @throws {ContenderError} if it reports an error, ends, or takes too long; it is then closed.
   */
  async run(): Promise<Result> {
    const { ms, cpuMs, value } = await this.ask("run");
    return { ms: Number(ms), cpuMs: Number(cpuMs), value: valueOf(value) };
  }

  /**
   * Sends a line and waits for the answer, which says how many `ms` it took.
   *
   * @throws {ContenderError} if it reports an error, ends, or takes too long; it is then closed.
   */
  async ask(line: string): Promise<Readonly<Record<string, unknown>>> {
    // Writing to a child that has died fails; that it died is what `#receive` finds out.
    await this.#input.write(new TextEncoder().encode(`${line}\n`)).catch(() => {});
    return await this.#receive("ms", this.#limits.runMs);
  }

  /** Lets it end, or ends it. */
  async close(): Promise<void> {
    await this.#input.close().catch(() => {});
    const timer = setTimeout(() => this.#kill(), 2000);
    await this.#child.status;
    clearTimeout(timer);
    await this.#output.return(undefined);
    await this.#draining;
  }

  /** The next message, which must have `key`. */
  async #receive(key: "ready" | "ms", limitMs: number): Promise<Record<string, unknown>> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<"late">((resolve) => {
      timer = setTimeout(() => resolve("late"), limitMs);
    });
    const answer = await Promise.race([this.#output.next(), late]);
    clearTimeout(timer);
    let reason: string;
    if (answer === "late") {
      const failure = key === "ready" ? "was not ready" : "did not finish a repetition";
      reason = `${failure} within ${limitMs / 1000} s`;
      this.#kill();
    } else if (answer.done) {
      const { code, signal } = await this.#child.status;
      await this.#draining;
      reason = `ended with ${signal ?? `code ${code}`}${this.#lastComplaint()}`;
    } else {
      const message = parse(answer.value);
      if (key in message) return message;
      reason = String(message["error"] ?? `printed "${answer.value.slice(0, 80)}"`);
    }
    await this.close();
    throw new ContenderError(reason);
  }

  #kill(): void {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }

  async #drain(): Promise<void> {
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      this.#complaints = (this.#complaints + text).slice(-KEPT);
    }
  }

  /** The line of stderr that is most likely the cause. */
  #lastComplaint(): string {
    const found = this.#complaints.split("\n").map((line) => line.trim()).filter((line) => line);
    const line = found.findLast((line) => /error|panick/i.test(line)) ?? found.at(-1);
    return line ? `: ${line}` : "";
  }
}

/** JSON has null in the place of NaN. */
function valueOf(value: unknown): Result["value"] {
  return Array.isArray(value) ? value : typeof value === "number" ? value : NaN;
}

function parse(line: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(line));
  } catch {
    return {};
  }
}
