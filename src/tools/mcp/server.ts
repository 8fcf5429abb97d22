/**
 * An MCP server that calls can be made to as long as it can be had at all: a session that is over is
 * followed by another one.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import { type ToolContext, ToolUnavailableError } from "../tool.ts";
import type { McpSdk } from "./sdk.ts";
import { type CallToolResult, type ListedTool, McpSession } from "./session.ts";
import type { McpServerSpec } from "./spec.ts";

/** Calls under way at a time: a server that does one after the other answers each in time. */
const CALLS_AT_ONCE = 16;
/** Sessions in a row that may end before a call succeeds; the next is the last. */
const RESTARTS = 6;
/** Milliseconds before the first restart; each further one waits twice as long. */
const BACKOFF_MS = 500;

/** A server. */
export class McpServer implements AsyncDisposable {
  /** Where it is, and what is wanted of it. */
  readonly spec: McpServerSpec;
  readonly #sdk: McpSdk;
  readonly #backoffMs: number;
  readonly #closing = new AbortController();
  /** The MCP session that an episode began with: what the server remembers of it is there. */
  readonly #episodes = new WeakMap<object, McpSession>();
  readonly #ended: Promise<void>[] = [];
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #session: McpSession;
  #opening: Promise<McpSession> | null = null;
  /** Sessions that ended, or could not be opened, since a call last succeeded. */
  #failures = 0;

  private constructor(sdk: McpSdk, spec: McpServerSpec, session: McpSession, backoffMs: number) {
    this.#sdk = sdk;
    this.spec = spec;
    this.#session = session;
    this.#backoffMs = backoffMs;
  }

  /**
   * Starts or reaches a server; where that fails at the first try, its settings are to blame.
   *
   * @throws {Error} if it fails.
   */
  static async open(
    sdk: McpSdk,
    spec: McpServerSpec,
    { backoffMs = BACKOFF_MS }: { readonly backoffMs?: number } = {},
  ): Promise<McpServer> {
    return new McpServer(sdk, spec, await McpSession.open(sdk, spec), backoffMs);
  }

  /** All tools that it has. */
  async list(): Promise<ListedTool[]> {
    return await this.#session.list();
  }

  /**
   * Calls a tool. Where the MCP session is over, the call waits for another one.
   *
   * @throws {ToolUnavailableError} if the MCP session ends before there is an answer, if the one that
   * the episode began with has ended, or, for good, if there is no other to be had.
   * @throws {Error} if the server refuses the call, or the tool takes too long.
   */
  async call(
    name: string,
    args: Record<string, unknown>,
    { signal, episode }: Omit<ToolContext, "world">,
  ): Promise<CallToolResult> {
    await this.#enter();
    try {
      const first = episode && this.#episodes.get(episode);
      if (first && first.over !== null) throw new ToolUnavailableError(first.over);
      const session = first ?? await this.#alive();
      if (episode) this.#episodes.set(episode, session);
      const result = await session.call(name, args, signal);
      this.#failures = 0;
      return result;
    } finally {
      this.#leave();
    }
  }

  /** A session that is not over, as far as anyone knows. */
  async #alive(): Promise<McpSession> {
    if (this.#session.over === null) return this.#session;
    this.#opening ??= this.#reopen().finally(() => this.#opening = null);
    return await this.#opening;
  }

  async #reopen(): Promise<McpSession> {
    const { signal } = this.#closing;
    let why = this.#session.over!;
    this.#ended.push(this.#session.close());
    for (this.#failures++; this.#failures <= RESTARTS; this.#failures++) {
      await delay(this.#backoffMs * 2 ** (this.#failures - 1), undefined, { signal });
      try {
        return this.#session = await McpSession.open(this.#sdk, this.spec);
      } catch (error) {
        why = (error as Error).message;
      }
    }
    throw new ToolUnavailableError(`${why}. It was given up after ${RESTARTS} restarts`, {
      permanent: true,
    });
  }

  async #enter(): Promise<void> {
    if (this.#running >= CALLS_AT_ONCE) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running++;
  }

  /** Hands its place to the one that has waited longest. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#running--;
  }

  /** Ends the MCP session, and the program where there is one. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#opening?.catch(() => {});
    await Promise.all([...this.#ended, this.#session.close()]);
  }
}
