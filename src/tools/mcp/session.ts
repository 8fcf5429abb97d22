/**
 * One session with an MCP server, from its start to its end, which may come at any time.
 *
 * @module
 */

import { stripVTControlCharacters } from "node:util";
import type { CallToolResult, Client } from "@modelcontextprotocol/client";
import * as v from "valibot";
import project from "../../../deno.json" with { type: "json" };
import { rootMessage } from "../../io/http.ts";
import { ToolUnavailableError } from "../tool.ts";
import { inOwnGroup, NO_PROGRAM } from "./own_group.ts";
import type { McpSdk } from "./sdk.ts";
import { type McpServerSpec, withoutSecrets } from "./spec.ts";

export type { CallToolResult };

/** Milliseconds for a server to start and answer; the first time it may have to be downloaded. */
const START_MS = 60_000;
/** Milliseconds in which a server that is alive answers a ping, and less where calls get less. */
const PING_MS = 5_000;
/** Bytes of the longest message of a server; the tool's own limit cuts what the model sees. */
const LONGEST_MESSAGE = 64 * 2 ** 20;
/** Characters of what a program last wrote to its standard error, for messages. */
const LAST_WORDS = 400;
/** Characters of it that are kept: a secret that is cut in two would not be known as one. */
const KEPT_WORDS = 16 * LAST_WORDS;
/** Code of the error that stands for an answer that broke off; one that no server uses. */
const BROKEN_OFF = Number.MIN_SAFE_INTEGER;

/** A page of the list of tools. Servers are not always as strict with schemas as the SDK is. */
const pageSchema = v.object({
  tools: v.array(v.object({
    name: v.string(),
    title: v.optional(v.string()),
    description: v.optional(v.string()),
    inputSchema: v.optional(v.record(v.string(), v.unknown()), {}),
  })),
  nextCursor: v.optional(v.string()),
});

/** A tool as its server describes it. */
export type ListedTool = v.InferOutput<typeof pageSchema>["tools"][number];

/** A session. Once it is over it stays so. */
export class McpSession {
  readonly #sdk: McpSdk;
  readonly #spec: McpServerSpec;
  readonly #client: Client;
  #lastWords = "";
  #over: string | null = null;
  #closed: Promise<void> | null = null;

  private constructor(sdk: McpSdk, spec: McpServerSpec) {
    this.#sdk = sdk;
    this.#spec = spec;
    this.#client = new sdk.Client({ name: "mentor", version: project.version });
  }

  /**
   * Starts a session, and a program where the server is one.
   *
   * @throws {Error} if the server cannot be started or reached, or is no MCP server.
   */
  static async open(sdk: McpSdk, spec: McpServerSpec): Promise<McpSession> {
    const session = new McpSession(sdk, spec);
    try {
      await session.#client.connect(await session.#transport(), { timeout: START_MS });
    } catch (error) {
      await session.close();
      throw new Error(session.#saying(session.#reason(error as Error)), { cause: error });
    }
    session.#client.onclose = () => session.#end("its connection was closed");
    return session;
  }

  /** Why it is over; null while it is not. */
  get over(): string | null {
    return this.#over;
  }

  /**
   * All tools that the server has.
   *
   * @throws {Error} if the list is not usable.
   */
  async list(): Promise<ListedTool[]> {
    const tools: ListedTool[] = [];
    const seen = new Set<string>();
    let cursor: string | undefined;
    do {
      if (cursor !== undefined) seen.add(cursor);
      const params = cursor === undefined ? {} : { cursor };
      const request = { method: "tools/list" as const, params };
      const page = await this.#client.request(request, pageSchema, { timeout: START_MS })
        .catch((error: Error) => {
          throw new Error(this.#saying(`its list of tools: ${error.message}`), { cause: error });
        });
      tools.push(...page.tools);
      cursor = page.nextCursor;
    } while (cursor !== undefined && !seen.has(cursor));
    return tools;
  }

  /**
   * Calls a tool.
   *
   * @throws {ToolUnavailableError} if the MCP session is over before there is an answer.
   * @throws {Error} if the server refuses the call, or the tool takes too long.
   * @throws the reason of the signal if that fires.
   */
  async call(
    name: string,
    args: Record<string, unknown>,
    signal: AbortSignal,
  ): Promise<CallToolResult> {
    const { timeoutMs: timeout } = this.#spec;
    try {
      return await this.#client.callTool({ name, arguments: args }, { timeout, signal });
    } catch (error) {
      signal.throwIfAborted();
      const { ProtocolError, SdkError } = this.#sdk;
      if (error instanceof ProtocolError && error.code !== BROKEN_OFF) throw error;
      if (error instanceof SdkError && error.code === "INVALID_RESULT") throw error;
      const late = error instanceof SdkError && error.code === "REQUEST_TIMEOUT";
      // A tool that is slow is the call's fault, a server that does not answer at all is not.
      if (late && await this.#answers()) throw new Error(`timed out after ${timeout} ms`);
      this.#end(late ? `it has not answered for ${timeout} ms` : this.#reason(error as Error));
      throw new ToolUnavailableError(this.#over!, { cause: error });
    }
  }

  /** Ends it, and the program where there is one. */
  close(): Promise<void> {
    this.#over ??= "it was closed";
    return this.#closed ??= this.#client.close().catch(() => {});
  }

  #end(why: string): void {
    if (this.#over !== null) return;
    this.#over = this.#saying(why);
    // Calls under way fail by that, too.
    void this.close();
  }

  async #answers(): Promise<boolean> {
    try {
      await this.#client.ping({ timeout: Math.min(PING_MS, this.#spec.timeoutMs) });
      return true;
    } catch {
      return false;
    }
  }

  #reason(error: Error & { readonly code?: unknown }): string {
    const { place } = this.#spec;
    if ("url" in place) return rootMessage(error);
    if (error.code !== "ENOENT" && !NO_PROGRAM.test(this.#lastWords)) return error.message;
    const folder = place.cwd === null ? "" : `, or no folder "${place.cwd}"`;
    return `there is no program "${place.command}"${folder}`;
  }

  #saying(why: string): string {
    const plain = (text: string) => withoutSecrets(this.#spec, stripVTControlCharacters(text));
    const words = plain(this.#lastWords).replaceAll(/\s+/g, " ").trim().slice(-LAST_WORDS);
    return plain(`MCP server "${this.#spec.name}": ${why}`) +
      (words === "" ? "" : `; it wrote: ${words}`);
  }

  async #transport() {
    const { place } = this.#spec;
    const { StdioClientTransport, StreamableHTTPClientTransport } = this.#sdk;
    if ("url" in place) {
      const { headers } = place;
      const transport = new StreamableHTTPClientTransport(new URL(place.url), {
        requestInit: { headers },
      });
      // The SDK leaves a call whose answer breaks off to its time-out.
      const send = transport.send.bind(transport);
      transport.send = (message, options) =>
        send(message, {
          ...options,
          onRequestStreamEnd: () => {
            if (!("id" in message && "method" in message)) return;
            const error = { code: BROKEN_OFF, message: "its answer broke off" };
            transport.onmessage?.({ jsonrpc: "2.0", id: message.id, error });
          },
        });
      return transport;
    }
    const { env, cwd } = place;
    const transport = new StdioClientTransport({
      ...{ ...await inOwnGroup(place), env: { ...env }, stderr: "pipe" },
      ...{ maxBufferSize: LONGEST_MESSAGE, ...(cwd === null ? {} : { cwd }) },
    });
    transport.stderr?.on("data", (bytes: Uint8Array) => {
      this.#lastWords = (this.#lastWords + new TextDecoder().decode(bytes)).slice(-KEPT_WORDS);
    });
    return transport;
  }
}
