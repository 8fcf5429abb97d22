/**
 * Asking an endpoint until it answers: within the budget, no faster than allowed, and with every
 * request and every answer in the journal.
 *
 * @module
 */

import { Random } from "../../random.ts";
import { type Completion, type Endpoint, PassingError } from "./endpoint.ts";
import type { Answer, Journal } from "./journal.ts";
import { type Budget, estimatedTokens, type Usage } from "./ledger.ts";
import { type Clock, type Passage, type RateLimit, systemClock } from "./rate_limit.ts";
import { HaltError } from "./teacher.ts";
import type { Job } from "./trajectory.ts";

/** A request was repeated as often as it may be; its trajectory has to wait for the next process. */
export class GivenUpError extends Error {}

/** What asking is bound by. */
export interface ClientOptions {
  readonly endpoint: Endpoint;
  readonly journal: Journal;
  readonly budget: Budget;
  readonly rate: RateLimit;
  /** How often a request is sent at most. */
  readonly attempts: number;
  /** Milliseconds before the first repetition; they double with each one. */
  readonly retryMs: number;
  /** Aborted where no more requests are to be sent; the reason is what is thrown. */
  readonly halt: AbortController;
  readonly clock?: Clock;
}

/** The longest pause of our own before a repetition, in milliseconds. */
const LONGEST_PAUSE_MS = 60_000;
/** An endpoint that asks to be left alone for longer than this has closed for the day. */
const LONGEST_WAIT_MS = 15 * 60_000;

/** Asks an endpoint. */
export class Client {
  readonly #options: ClientOptions;
  readonly #clock: Clock;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Asks for the teacher's message in one turn. Requests that are under way are waited for, whatever
   * happens: their answers are paid for.
   *
   * @param input tokens that the request is expected to have
   * @throws {GivenUpError} if no attempt came to anything.
   * @throws {HaltError} if no more requests are to be sent.
   * @throws {TeacherError} if no request will be answered as things are.
   */
  async ask(
    job: Job,
    turn: number,
    body: Readonly<Record<string, unknown>>,
    input: number,
  ): Promise<Answer> {
    const { journal, attempts, retryMs, halt } = this.#options;
    const random = new Random(`${job.task.id}/${job.sample}/${turn}`);
    for (let attempt = 1;; attempt++) {
      const expected = { input, output: mostTokens(body) ?? journal.ledger.longest };
      const passage = await this.#admitted(
        expected,
        () => journal.sent(job, turn, attempt, expected),
      );
      const completion = await this.#complete(job, turn, body);
      if (!(completion instanceof PassingError)) {
        const answer = withUsage(completion, input);
        passage.tokens = answer.usage.input + answer.usage.output;
        journal.answered(job, turn, answer);
        return answer;
      }
      if (attempt === attempts) throw new GivenUpError(completion.message);
      // Requests that failed together should not come back together.
      const pause = retryMs * 2 ** (attempt - 1) * (1 + random.float() / 2);
      await this.#clock.sleep(Math.min(pause, LONGEST_PAUSE_MS), halt.signal);
    }
  }

  /** One attempt. */
  async #complete(
    job: Job,
    turn: number,
    body: Readonly<Record<string, unknown>>,
  ): Promise<Completion | PassingError> {
    const { endpoint, journal } = this.#options;
    try {
      return await endpoint.complete(body);
    } catch (error) {
      const passing = error instanceof PassingError;
      journal.failed(job, turn, passing && error.charged, (error as Error).message);
      if (!passing) throw error;
      this.#leaveAlone(error);
      return error;
    }
  }

  /** Waits until a request may be sent. @param reserve takes what it is expected to, at once */
  async #admitted(expected: Usage, reserve: () => void): Promise<Passage> {
    const { journal: { ledger }, budget, rate, halt } = this.#options;
    for (;;) {
      halt.signal.throwIfAborted();
      if (ledger.admits(expected, budget)) {
        const passage = await rate.enter(expected.input + expected.output, halt.signal);
        if (ledger.admits(expected, budget)) {
          reserve();
          return passage;
        }
      } else if (ledger.pending > 0) {
        // These may take less than they were expected to.
        await ledger.changed();
      } else {
        halt.abort(new HaltError("budget", "another request could exceed the budget"));
      }
    }
  }

  /** Keeps everybody away for as long as the endpoint asks. */
  #leaveAlone({ after, message }: PassingError): void {
    const { rate, halt } = this.#options;
    if (after === null) return;
    if (after <= LONGEST_WAIT_MS) return rate.close(after);
    const minutes = Math.ceil(after / 60_000);
    const why = `${message} and asks to be left alone for ${minutes} minutes`;
    halt.abort(new HaltError("wait", why));
  }
}

/** The most tokens that an answer may have by its request. */
function mostTokens(body: Readonly<Record<string, unknown>>): number | null {
  const most = body.max_completion_tokens ?? body.max_tokens;
  return typeof most === "number" ? most : null;
}

function withUsage(completion: Completion, input: number): Answer {
  if ("refused" in completion) return { ...completion, usage: { input: 0, output: 0 } };
  const { usage, message } = completion;
  if (usage !== null) return { ...completion, usage };
  const output = estimatedTokens(JSON.stringify(message));
  return { ...completion, usage: { input, output }, estimated: true };
}
