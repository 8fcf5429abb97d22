/**
 * The app on a port. `Deno.serve` answers twice as many requests a second, and waits for the rest of
 * one for ever; `node:http` gives a client a time for it (Deno 2.9: 28 µs of CPU for an empty answer,
 * and 8 µs). This can go once Deno's own server has such limits.
 *
 * @module
 */

import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";

/** What clients may do with connections. */
export interface ConnectionLimits {
  /** Seconds until the end of a request's headers; 10. */
  readonly headers: number;
  /** Seconds until the end of its body; 40, after those that a route waits for one by itself. */
  readonly request: number;
  /**
   * Connections at the same time, more of which are closed at once; 2048. A server that runs out of
   * files never accepts one again (Deno 2.9).
   */
  readonly connections: number;
}

/** How often connections are looked at, as a share of what they are given. */
const LOOKS = 10;

/** How long a connection without requests is kept: longer than those who ask every few seconds. */
const IDLE_MS = 60_000;

/** How often it is looked whether all requests are answered, once there are to be no more. */
const DRAIN_POLL_MS = 20;

/** A server that is listening. */
export class Listener implements AsyncDisposable {
  /** Where it is found. */
  readonly url: string;
  readonly #server: Server;
  /** Requests that are being answered. */
  readonly #answers: ReadonlySet<ServerResponse>;

  private constructor(server: Server, answers: ReadonlySet<ServerResponse>) {
    this.#server = server;
    this.#answers = answers;
    const { address, port } = server.address() as AddressInfo;
    this.url = `http://${address.includes(":") ? `[${address}]` : address}:${port}`;
  }

  /** Starts to listen. @throws {Error} if the address cannot be had */
  static async open(
    fetch: (request: Request, env: unknown) => Response | Promise<Response>,
    { host, port, limits = {} }: {
      readonly host: string;
      readonly port: number;
      readonly limits?: Partial<ConnectionLimits>;
    },
  ): Promise<Listener> {
    const { headers = 10, request = 40, connections = 2048 } = limits;
    const server = createAdaptorServer({
      fetch,
      createServer,
      // Requests and answers of the whole program would be of its own classes.
      overrideGlobalObjects: false,
      serverOptions: {
        headersTimeout: 1000 * headers,
        requestTimeout: 1000 * request,
        connectionsCheckingInterval: 1000 * headers / LOOKS,
        keepAliveTimeout: IDLE_MS,
      },
    }) as Server;
    server.maxConnections = connections;
    const answers = new Set<ServerResponse>();
    server.on("request", (_request, response) => {
      answers.add(response);
      response.on("close", () => answers.delete(response));
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
    server.removeAllListeners("error");
    return new Listener(server, answers);
  }

  /** Lets nobody in any more, and waits for the answers to requests that are there. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    while (this.#answers.size > 0) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
    // Those that are left have no request, or half of one.
    this.#server.closeAllConnections();
    await closed;
  }

  /** Same as {@linkcode Listener.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
