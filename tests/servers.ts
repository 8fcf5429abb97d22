// A server over a folder of runs, in this process or in one of its own.

import { fromFileUrl, join } from "@std/path";
import { resolveConfig } from "../src/run/config/mod.ts";
import type { EpisodeRecord } from "../src/run/episode_record.ts";
import { EventLog, type RunEventBody } from "../src/run/events.ts";
import { RunFolder } from "../src/run/store.ts";
import { JsonlWriter } from "../src/io/jsonl.ts";
import type { StartChild } from "../src/serve/child.ts";
import { openApp, type ServerOptions } from "../src/serve/serve.ts";

/** Where the runs of this test file go; removed in the end. */
export const root = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(root, { recursive: true }));
let folders = 0;
/** An empty folder of runs. */
export function freshRuns(): string {
  const path = join(root, `runs-${folders++}`);
  Deno.mkdirSync(path);
  return path;
}

/** A process that never takes its run on, nor ends. */
export const startNothing: StartChild = () =>
  Promise.resolve({ pid: 0, exit: new Promise(() => {}) });

/** An app in this process; errors that nobody asked for fail the test. */
export function testApp(options: ServerOptions = {}) {
  return openApp({
    runs: freshRuns(),
    start: startNothing,
    onError: (error) => {
      throw error;
    },
    ...options,
  });
}

/** A request as a program of this machine sends it. */
export function ask(method: string, body?: unknown, headers: Record<string, string> = {}) {
  return {
    method,
    headers: { host: "localhost", "content-type": "application/json", ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  };
}

/** A run that somebody made before. */
export function makeRun(
  runs: string,
  events: readonly RunEventBody[],
  episodes: readonly Partial<EpisodeRecord>[] = [],
): RunFolder {
  const run = RunFolder.create(resolveConfig({ flags: { steps: 9, seed: 4 } }), runs);
  using log = new EventLog(run.events);
  events.forEach((event) => log.emit(event));
  using lines = new JsonlWriter(run.episodes);
  episodes.forEach((episode) => lines.append(episode));
  return run;
}

/** The first event of a run. */
export const begun: RunEventBody = {
  type: "run-start",
  method: "grpo",
  seed: 4,
  steps: 9,
  adapter: "none",
};

/** A step. */
export const stepEvent = (step: number, loss = step / 2): RunEventBody => ({
  type: "step",
  step,
  method: "grpo",
  metrics: { loss, reward: -step },
  timing: { seconds: 0.5 },
});

/** The last event of a run. */
export const ended = (step: number): RunEventBody => ({ type: "run-end", step, status: "done" });

/** Waits until something holds, at most so long. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  seconds = 60,
): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!await holds()) {
    if (Date.now() > deadline) throw new Error(`Not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A server in a process of its own. */
export class ServerProcess implements AsyncDisposable {
  readonly url: string;
  readonly #child: Deno.ChildProcess;

  private constructor(child: Deno.ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
  }

  /** Starts `./mentor serve` on a free port. */
  static async start(runs: string, ...args: string[]): Promise<ServerProcess> {
    const cli = fromFileUrl(new URL("../cli.ts", import.meta.url));
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        cli,
        "serve",
        "--port",
        "0",
        "--runs",
        runs,
        "--json",
        "--quiet",
        ...args,
      ],
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    let text = "";
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    while (!text.includes("}")) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`The server did not start: ${text}`);
      text += value;
    }
    void reader.cancel();
    return new ServerProcess(child, JSON.parse(text).url);
  }

  /** Asks, and reads the answer as JSON. */
  async ask(method: string, path: string, body?: unknown) {
    const response = await fetch(this.url + path, ask(method, body));
    return { status: response.status, headers: response.headers, body: await response.json() };
  }

  /** Sends a signal. */
  async kill(signal: Deno.Signal = "SIGKILL"): Promise<void> {
    this.#child.kill(signal);
    await this.#child.status;
  }

  /** Ends it, if it still is there. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has ended.
    }
    await this.#child.status;
  }
}
