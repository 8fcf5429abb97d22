/**
 * Clients that watch a run's events, in a process of their own: `watchers.ts URL COUNT`.
 *
 * A line on stdin is the number of lines of `events.jsonl` that they have already, and lets all of
 * them in; an empty one lets them go. Each is answered by a line of JSON, how many bytes each got.
 * They speak HTTP over plain sockets and look at nothing: what they take of this machine is no part
 * of what the server costs.
 *
 * @module
 */

import { lines } from "../peers/protocol.ts";

const [url, count] = Deno.args as [string, string];
const { port, pathname } = new URL(url);

/** A client that reads until it is told to leave. */
class Watcher {
  bytes = 0;
  readonly #connection: Deno.TcpConn;

  private constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  /** Comes in, and reads the head of the answer. @param after lines that it has */
  static async open(after: string): Promise<Watcher> {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
    const request =
      `GET ${pathname} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: ${after}\r\n\r\n`;
    await connection.write(new TextEncoder().encode(request));
    const watcher = new Watcher(connection);
    const buffer = new Uint8Array(16 * 1024);
    const first = await connection.read(buffer) ?? 0;
    const head = new TextDecoder().decode(buffer.subarray(0, first));
    if (!head.startsWith("HTTP/1.1 200")) throw new Error(`Cannot watch: ${head}`);
    watcher.#read(buffer);
    return watcher;
  }

  close(): void {
    this.#connection.close();
  }

  async #read(buffer: Uint8Array): Promise<void> {
    try {
      for (let read; (read = await this.#connection.read(buffer)) !== null;) this.bytes += read;
    } catch (error) {
      if (!(error instanceof Deno.errors.Interrupted || error instanceof Deno.errors.BadResource)) {
        throw error;
      }
    }
  }
}

/** Waits until what is on its way to some has come to all of them, if it does. */
async function settle(watchers: readonly Watcher[]): Promise<void> {
  for (let i = 0; i < 100 && new Set(watchers.map(({ bytes }) => bytes)).size > 1; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

let watching: Watcher[] = [];
for await (const after of lines(Deno.stdin.readable)) {
  await settle(watching);
  const left = watching;
  left.forEach((watcher) => watcher.close());
  watching = after === ""
    ? []
    : await Promise.all(Array.from({ length: Number(count) }, () => Watcher.open(after)));
  console.log(JSON.stringify(left.map(({ bytes }) => bytes)));
}
watching.forEach((watcher) => watcher.close());
