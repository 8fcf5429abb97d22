/**
 * The processes of the bench: the server, and those that load it.
 *
 * @module
 */

import { fromFileUrl } from "@std/path";
import { lines } from "../peers/protocol.ts";

/** A process that answers a line by JSON. */
export class Child implements AsyncDisposable {
  readonly pid: number;
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: AsyncGenerator<string>;

  /** @param script from this folder @param args of the script */
  constructor(script: string, ...args: string[]) {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-prompt", "--config", pathOf("../../deno.json"), pathOf(script)],
        ...args,
      ],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.pid = this.#process.pid;
    this.#input = this.#process.stdin.getWriter();
    this.#output = lines(this.#process.stdout);
  }

  /** Sends a line and reads the answer. */
  async ask<T>(line: string): Promise<T> {
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
    return await this.read();
  }

  /** Reads JSON, on one line or several. @throws {Error} if the process has ended, and said why */
  async read<T>(): Promise<T> {
    for (let text = "";;) {
      const { value, done } = await this.#output.next();
      if (done) throw new Error("Cannot measure the load: a process of the bench has ended");
      text += value;
      try {
        return JSON.parse(text);
      } catch {
        // There are more lines.
      }
    }
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill();
    } catch {
      // It has ended.
    }
    await this.#input.close().catch(() => {});
    await this.#process.status;
  }
}

/** CPU time of a process in ms, and the memory that it has in bytes; as Linux tells them. */
export function usage(pid: number): { cpuMs: number; resident: number } {
  // Behind the name, which may hold spaces; a tick is 10 ms, a page 4 KiB.
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /s, "").split(" ");
  return {
    cpuMs: 10 * (Number(fields[11]) + Number(fields[12])),
    resident: 4096 * Number(fields[21]),
  };
}

function pathOf(file: string): string {
  return fromFileUrl(new URL(file, import.meta.url));
}
