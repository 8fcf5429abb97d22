/**
 * Requests at a fixed rate, in a process of their own: `requests.ts RATE CONNECTIONS`.
 *
 * The loop is open: a request is due at its time, whatever became of those before it, and its latency
 * counts from then, also while it waits for a connection. A line on stdin, `URL SECONDS`, is
 * answered by a line of JSON: the latencies in milliseconds.
 *
 * @module
 */

import { lines } from "../peers/protocol.ts";

const [rate, connections] = Deno.args.map(Number) as [number, number];
const decoder = new TextDecoder();

/** A connection on which one request is answered after the other. */
class Connection {
  readonly #socket: Deno.TcpConn;
  readonly #buffer = new Uint8Array(256 * 1024);

  private constructor(socket: Deno.TcpConn) {
    this.#socket = socket;
  }

  static async open(port: number): Promise<Connection> {
    const socket = await Deno.connect({ hostname: "127.0.0.1", port });
    socket.setNoDelay(true);
    return new Connection(socket);
  }

  /** Sends a request, and reads the whole answer. @throws {Error} if that is not 200 */
  async ask(request: Uint8Array): Promise<void> {
    await this.#socket.write(request);
    let filled = 0;
    for (let length = Infinity; filled < length;) {
      const read = await this.#socket.read(this.#buffer.subarray(filled));
      if (read === null) throw new Error("Cannot ask: the connection ended");
      filled += read;
      if (length < Infinity) continue;
      const text = decoder.decode(this.#buffer.subarray(0, Math.min(filled, 4096)));
      const head = text.indexOf("\r\n\r\n");
      if (head < 0) continue;
      const [, body] = /\r\ncontent-length: (\d+)\r\n/i.exec(text) ?? [];
      if (!text.startsWith("HTTP/1.1 200") || body === undefined) throw new Error(text);
      length = head + 4 + Number(body);
    }
  }

  close(): void {
    this.#socket.close();
  }
}

async function measure({ port, pathname }: URL, seconds: number): Promise<number[]> {
  const request = new TextEncoder().encode(`GET ${pathname} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  const latencies: number[] = [];
  const total = rate * seconds;
  const pool = await Promise.all(
    Array.from({ length: connections }, () => Connection.open(Number(port))),
  );
  const begin = performance.now();
  /** When each request is due that has no connection yet. */
  const due: number[] = [];
  const free = [...pool];
  const finished = Promise.withResolvers<void>();
  const serve = async (connection: Connection) => {
    while (due.length > 0) {
      const since = due.shift()!;
      await connection.ask(request);
      latencies.push(performance.now() - since);
    }
    free.push(connection);
    if (latencies.length === total) finished.resolve();
  };
  let made = 0;
  const timer = setInterval(() => {
    for (; made < total && begin + made * 1000 / rate <= performance.now(); made++) {
      due.push(begin + made * 1000 / rate);
      // In turn: the server closes those on which nothing is asked.
      const connection = free.shift();
      if (connection) serve(connection).catch(finished.reject);
    }
  }, 1);
  try {
    await finished.promise;
    return latencies;
  } finally {
    clearInterval(timer);
    pool.forEach((connection) => connection.close());
  }
}

for await (const line of lines(Deno.stdin.readable)) {
  const [url, seconds] = line.split(" ") as [string, string];
  console.log(JSON.stringify(await measure(new URL(url), Number(seconds))));
}
