/**
 * The models that are offered, of which one at a time is on the GPU.
 *
 * @module
 */

import type { Generator } from "../../model/generator.ts";
import type { SequenceQueue } from "../../model/sequence.ts";
import type { ChatFormat } from "../../text/chat_template.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { ApiError } from "./errors.ts";

/** A model that is ready to generate. */
export interface ServedModel extends Disposable {
  readonly tokenizer: Tokenizer;
  readonly chat: ChatFormat;
  /** Ids that the model knows are below. */
  readonly vocabSize: number;
  /** Longest sequence in tokens. */
  readonly length: number;
  readonly generator: Pick<Generator, "queue" | "serve">;
}

/** What an engine offers, and how much at a time. */
export interface EngineOptions {
  /** Where models lie, by the ids under which clients know them. */
  readonly models: Readonly<Record<string, string>>;
  /** Loads one of them. */
  load(path: string): Promise<ServedModel>;
  /** Completions under way or waiting, of all requests; more are refused. */
  readonly capacity: number;
  /** Why nothing may run now, such as a training run on the same GPU; null if it may. */
  busy?(): string | null;
  /** Told of what goes wrong that no client is told of; by default it is printed. */
  onError?(error: unknown): void;
}

/** The right to generate with a model, which stays loaded meanwhile. */
export interface Lease extends Disposable {
  readonly model: ServedModel;
  /** Where sequences go. */
  readonly queue: SequenceQueue;
  /** Aborted if the model fails, with its error. */
  readonly failure: AbortSignal;
}

interface Loaded {
  readonly id: string;
  readonly model: ServedModel;
  readonly queue: SequenceQueue;
  readonly serving: Promise<void>;
  readonly failure: AbortSignal;
}

/** Seconds after which a refused client may try again. */
const RETRY_AFTER = 1;

/** Loads models when they are asked for, and lets requests in one after the other. */
export class InferenceEngine implements AsyncDisposable {
  readonly #options: EngineOptions;
  /** When the server began to offer its models, in seconds since 1970. */
  readonly created: number = now();
  #loaded: Loaded | null = null;
  #admitted = 0;
  #leases = 0;
  #idle = Promise.withResolvers<void>();
  /** The last of those who wait to be let in. */
  #line: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#idle.resolve();
  }

  /** The ids of the models. */
  get models(): string[] {
    return Object.keys(this.#options.models);
  }

  /** The model on the GPU, and how many completions are under way or waiting. */
  get state(): { readonly model: string | null; readonly admitted: number } {
    return { model: this.#loaded?.id ?? null, admitted: this.#admitted };
  }

  /**
   * Lets a request in: first come, first served, so that one for another model is not put off for
   * ever by those for the model that is loaded.
   *
   * @param completions how many it wants
   * @throws {ApiError} if there is no such model, too much is waiting, or the GPU is taken.
   */
  async lease(id: string, completions: number, signal: AbortSignal): Promise<Lease> {
    const { models, capacity } = this.#options;
    if (!Object.hasOwn(models, id)) {
      throw new ApiError(404, `The model "${id}" does not exist; GET /v1/models lists what does`, {
        param: "model",
        code: "model_not_found",
      });
    }
    if (completions > capacity) {
      throw new ApiError(
        400,
        `${completions} completions in one request are more than the ${capacity} that run or wait at a time`,
        { param: "n" },
      );
    }
    this.#requireFree();
    if (this.#admitted + completions > capacity) {
      throw new ApiError(
        429,
        `${this.#admitted} completions are running or waiting, and ${capacity} may; try again later`,
        { code: "rate_limit_exceeded", retryAfter: RETRY_AFTER },
      );
    }
    this.#admitted += completions;
    const left = Promise.withResolvers<never>();
    const leave = () => left.reject(signal.reason);
    signal.addEventListener("abort", leave);
    const entered = this.#inTurn(async () => {
      signal.throwIfAborted();
      this.#requireFree();
      const loaded = await this.#open(id);
      signal.throwIfAborted();
      return this.#leaseOf(loaded, completions);
    });
    try {
      // Who leaves while another model is at work makes room at once.
      return await Promise.race([entered, left.promise]);
    } catch (error) {
      this.#admitted -= completions;
      throw error;
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  /** Takes note of an error that no client is told of. */
  report(error: unknown): void {
    const { onError = (error) => console.error("Cannot answer a request:", error) } = this.#options;
    onError(error);
  }

  /** Takes the model off the GPU once nothing runs any more. */
  async unload(): Promise<void> {
    await this.#inTurn(() => this.#unload());
  }

  /** Lets nobody in any more, and unloads once all requests have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.unload();
  }

  #requireFree(): void {
    const reason = this.#closed ? "the server is shutting down" : this.#options.busy?.() ?? null;
    if (reason === null) return;
    throw new ApiError(503, `No model can run now: ${reason}`, {
      code: "gpu_busy",
      retryAfter: RETRY_AFTER,
    });
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#line;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#line = promise;
    await before;
    try {
      return await work();
    } finally {
      resolve();
    }
  }

  #leaseOf({ model, queue, failure }: Loaded, completions: number): Lease {
    if (this.#leases++ === 0) this.#idle = Promise.withResolvers();
    let ended = false;
    return {
      ...{ model, queue, failure },
      [Symbol.dispose]: () => {
        if (ended) return;
        ended = true;
        this.#admitted -= completions;
        if (--this.#leases === 0) this.#idle.resolve();
      },
    };
  }

  async #open(id: string): Promise<Loaded> {
    if (this.#loaded?.id === id && !this.#loaded.failure.aborted) return this.#loaded;
    await this.#unload();
    const model = await this.#options.load(this.#options.models[id]!);
    const queue = model.generator.queue();
    const failed = new AbortController();
    const serving = model.generator.serve(queue).catch((error) => failed.abort(error));
    return this.#loaded = { id, model, queue, serving, failure: failed.signal };
  }

  async #unload(): Promise<void> {
    await this.#idle.promise;
    const loaded = this.#loaded;
    this.#loaded = null;
    if (!loaded) return;
    loaded.queue.close();
    await loaded.serving;
    loaded.model[Symbol.dispose]();
  }
}

/** Seconds since 1970. */
export function now(): number {
  return Math.floor(Date.now() / 1000);
}
