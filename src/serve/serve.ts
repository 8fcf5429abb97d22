/**
 * The server on a port, from its first request to its last.
 *
 * @module
 */

import { ConfigError } from "../run/config/mod.ts";
import type { Allowed } from "./allowed.ts";
import { buildApp } from "./app.ts";
import type { StartChild } from "./child.ts";
import { isLoopback } from "./guards.ts";
import { type ConnectionLimits, Listener } from "./listener.ts";
import { type InferenceEngine, type InferenceOptions, openEngine } from "./openai/mod.ts";
import type { RequestRecord } from "./request_log.ts";
import { RunService } from "./service.ts";
import type { TokenEntry } from "./tokens.ts";

/** How the runs of a folder are served; every part has a default. */
export interface ServerOptions {
  /** Folder of the runs; `runs`. */
  readonly runs?: string;
  /** How many runs may be made at the same time; 1, as for one GPU. */
  readonly parallel?: number;
  /** What requests may name: no places, and the calculator. */
  readonly allowed?: Partial<Allowed>;
  /** Models to talk to, by OpenAI's API; none. */
  readonly inference?: InferenceOptions;
  /** Who may ask; null is every program of this machine. */
  readonly tokens?: readonly TokenEntry[] | null;
  /** Origins of web pages from elsewhere that may ask; none. */
  readonly origins?: readonly string[];
  /** Requests of a client in a second; 2000. */
  readonly rate?: number;
  /** Called with every request that was answered. */
  readonly onRequest?: (record: RequestRecord) => void;
  /** Called with what went wrong of which no request's record tells. */
  readonly onError?: (error: Error) => void;
  /** Starts the process of a run. */
  readonly start?: StartChild;
}

/** Where a server listens. */
export interface Listening {
  /** A name of this machine, or an address; `127.0.0.1`. */
  readonly host?: string;
  /** 0 is any that is free; 8000. */
  readonly port?: number;
  /** What clients may do with connections. */
  readonly limits?: Partial<ConnectionLimits>;
}

/** An app with the runs that it is about. */
export function openApp(options: ServerOptions = {}) {
  const { runs = "runs", parallel = 1, allowed = {}, tokens = null, start } = options;
  const { origins = [], rate = 2000, onRequest = () => {}, onError = () => {} } = options;
  const engine = openEngine(options.inference ?? {}, () => {
    if (service.ending.signal.aborted) return "the server is shutting down";
    const [run] = service.supervisor.onGpu();
    return run === undefined ? null : `run "${run}" has the GPU until it is done, or paused`;
  }, options.onError);
  const service: RunService = new RunService({
    runs,
    parallel,
    allowed: { places: [], tools: ["calculator"], ...allowed },
    onError,
    offered: Object.values(options.inference?.models ?? {}),
    clear: () => engine.unload(),
    ...(start ? { start } : {}),
  });
  return { service, engine, app: buildApp(service, engine, { tokens, origins, rate, onRequest }) };
}

/** A server that is listening. */
export class MentorServer implements AsyncDisposable {
  readonly #service: RunService;
  readonly #engine: InferenceEngine;
  readonly #listener: Listener;

  private constructor(service: RunService, engine: InferenceEngine, listener: Listener) {
    this.#service = service;
    this.#engine = engine;
    this.#listener = listener;
  }

  /**
   * Starts to listen, and to look after the runs.
   *
   * @throws {ConfigError} if it would be open to others without tokens, or the port is taken
   * @throws {CheckpointError} if the folder of the runs cannot be written
   */
  static async open(
    { host = "127.0.0.1", port = 8000, limits = {}, ...options }: ServerOptions & Listening = {},
  ): Promise<MentorServer> {
    if (!isLoopback(host) && !options.tokens) {
      throw new ConfigError(
        `Cannot listen on "${host}" without tokens: others could start runs. Make a token with ` +
          "./mentor serve token NAME, and name its file by --token-file",
      );
    }
    const { app, service, engine } = openApp(options);
    // Before anybody is let in: what is wrong with the folder is said at once.
    service.open();
    try {
      const listener = await Listener.open(app.fetch, { host, port, limits });
      return new MentorServer(service, engine, listener);
    } catch (error) {
      await service.close();
      throw new ConfigError(
        `Cannot listen on ${host}:${port}: ${
          (error as Error).message
        }. Choose another --port or --host`,
      );
    }
  }

  /** Where it is found. */
  get url(): string {
    return this.#listener.url;
  }

  /**
   * Lets no more requests in, finishes those that are there, and ends the streams.
   *
   * @param stopRuns whether to end the runs, too, each saved after its step; else they go on
   */
  async close({ stopRuns = false } = {}): Promise<void> {
    const drained = this.#listener.close();
    await this.#service.close({ stopRuns });
    await drained;
    await this.#engine[Symbol.asyncDispose]();
  }

  /** Same as {@linkcode MentorServer.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
