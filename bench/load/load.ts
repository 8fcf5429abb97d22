/**
 * The server under load: what clients that watch a run cost its training, whether the server's memory
 * stays as it is, and how long requests take meanwhile.
 *
 * Two runs of one config do the same steps, bit for bit. In the first the clients come and go by
 * blocks of steps, in the second they are there where they were not: so each step is done once with
 * and once without them, at times that lie among each other. Then they stay for a minute, while
 * requests come at a fixed rate, by turns to `GET /runs` and to an app that does nothing.
 *
 * @module
 */

import { join } from "@std/path";
import { fileStart, readTail } from "../../src/io/tail.ts";
import type { RunEvent } from "../../src/run/events.ts";
import { median } from "../statistics.ts";
import { paired, type WatchedStep } from "./pairs.ts";
import { Child, usage } from "./processes.ts";
import type { Latencies, LoadReport } from "./report.ts";

/** How to measure. */
export interface LoadOptions {
  /** Fewer and shorter blocks, for a first look. */
  readonly quick?: boolean;
  /** Hears what is being done. */
  readonly onProgress?: (text: string) => void;
}

const CLIENTS = 200;
/** Requests per second. */
const RATE = 1000;
/** Connections that the requests share. */
const CONNECTIONS = 64;
/** Steps before the first block: pipelines are compiled there. */
const WARMUP = 4;
/** The config of the runs. They are ended before they are done. */
const CONFIG = { steps: 1000, seed: 1, evaluation: { prompts: 0 } };
/** How long the runs may take to begin, or to end. */
const PATIENCE_MS = 60_000;
const POLL_MS = 50;

/** Runs everything, in a folder of its own. @throws {Error} where there is no `/proc` */
export async function load(
  { quick = false, onProgress = () => {} }: LoadOptions = {},
): Promise<LoadReport> {
  const plan = quick ? { blocks: 2, steps: 8, slices: 1 } : { blocks: 8, steps: 11, slices: 6 };
  const loadAverage = Deno.loadavg()[0]!;
  const runs = await Deno.makeTempDir();
  try {
    const serve = [
      "serve",
      "--port",
      "0",
      "--runs",
      runs,
      "--json",
      "--quiet",
      "--at-exit",
      "stop",
    ];
    await using server = new Child("../../cli.ts", ...serve);
    await using empty = new Child("empty.ts");
    await using requests = new Child("requests.ts", String(RATE), String(CONNECTIONS));
    const { url } = await server.read<{ url: string }>();
    const { url: nothing } = await empty.read<{ url: string }>();
    const target = { url, pid: server.pid, runs };
    await using first = await WatchedRun.start(target);
    const shares = [await first.blocks(plan, 0, onProgress)];
    await first.stop();
    await using second = await WatchedRun.start(target);
    shares.push(await second.blocks(plan, 1, onProgress));
    const minute = await second.minute(plan.slices, requests, nothing, onProgress);
    await second.stop();
    return {
      loadAverage,
      clients: CLIENTS,
      requestsPerSecond: RATE,
      training: paired(first.steps(), second.steps()),
      serverCpu: {
        alone: median(shares.map(({ off }) => off)),
        watched: median(shares.map(({ on }) => on)),
        asked: minute.cpu,
      },
      resident: minute.resident,
      runs: minute.runs,
      empty: minute.empty,
    };
  } finally {
    await Deno.remove(runs, { recursive: true });
  }
}

interface Target {
  readonly url: string;
  readonly pid: number;
  /** The folder of runs. */
  readonly runs: string;
}

/** A stretch of time in which the clients were there, or were not. */
interface Stretch {
  readonly watched: boolean;
  readonly from: number;
  readonly to: number;
}

/** A run, and the clients that watch it. */
class WatchedRun implements AsyncDisposable {
  readonly #target: Target;
  readonly #id: string;
  readonly #watchers: Child;
  readonly #stretches: Stretch[] = [];
  readonly #steps: Extract<RunEvent, { type: "step" }>[] = [];
  #position = fileStart;

  private constructor(target: Target, id: string) {
    this.#target = target;
    this.#id = id;
    const events = `${target.url}/runs/${id}/events`;
    this.#watchers = new Child("watchers.ts", events, String(CLIENTS));
  }

  /** Starts a run, and waits until it is warm. */
  static async start(target: Target): Promise<WatchedRun> {
    const response = await fetch(`${target.url}/runs`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(CONFIG),
    });
    const body = await response.json();
    if (response.status !== 201) throw new Error(`Cannot start a run: ${body.detail}`);
    const run = new WatchedRun(target, body.id);
    await run.#reach(WARMUP);
    return run;
  }

  /** The steps done, and whether they were watched; those in which that changed are left out. */
  *steps(): Generator<WatchedStep> {
    for (const { step, time, timing } of this.#steps) {
      const seconds = timing!["seconds"]!;
      const end = Date.parse(time);
      const stretch = this.#stretches.find(({ from, to }) =>
        from <= end - 1000 * seconds && end <= to
      );
      if (stretch) yield { step, seconds, watched: stretch.watched };
    }
  }

  /** Lets the clients in and out. @returns the server's share of a core with and without them */
  async blocks(
    { blocks, steps }: { readonly blocks: number; readonly steps: number },
    offset: number,
    onProgress: (text: string) => void,
  ): Promise<{ on: number; off: number }> {
    const shares: { on: number[]; off: number[] } = { on: [], off: [] };
    for (let block = 0; block < blocks; block++) {
      const watched = (block + offset) % 2 === 1;
      onProgress(
        `load: run ${offset + 1}, block ${block + 1} of ${blocks}${watched ? ", watched" : ""}`,
      );
      if (watched) await this.#enter();
      const from = Date.now();
      const before = usage(this.#target.pid);
      await this.#reach(WARMUP + (block + 1) * steps);
      const to = Date.now();
      shares[watched ? "on" : "off"].push(
        (usage(this.#target.pid).cpuMs - before.cpuMs) / (to - from),
      );
      this.#stretches.push({ watched, from, to });
      if (watched) await this.#leave();
    }
    return { on: median(shares.on), off: median(shares.off) };
  }

  /** Requests, while the clients stay. @param slices of 10 s @param empty address of the empty app */
  async minute(slices: number, requests: Child, empty: string, onProgress: (text: string) => void) {
    const { pid, url } = this.#target;
    const found: Record<"runs" | "empty", number[]> = { runs: [], empty: [] };
    const shares: number[] = [];
    await this.#enter();
    // The first requests fill the heap as far as it is let.
    await requests.ask(`${url}/runs 20`);
    const resident: number[] = [];
    const sampling = setInterval(() => resident.push(usage(pid).resident), 1000);
    for (let slice = 0; slice < slices; slice++) {
      onProgress(`load: ${RATE} requests/s, ${slice + 1} of ${slices}`);
      const before = usage(pid).cpuMs;
      const begin = performance.now();
      found.runs.push(...await requests.ask<number[]>(`${url}/runs 5`));
      shares.push((usage(pid).cpuMs - before) / (performance.now() - begin));
      found.empty.push(...await requests.ask<number[]>(`${empty}/ 5`));
    }
    clearInterval(sampling);
    await this.#leave();
    const third = Math.ceil(resident.length / 3);
    return {
      cpu: median(shares),
      resident: {
        begin: median(resident.slice(0, third)),
        end: median(resident.slice(-third)),
        most: Math.max(...resident),
      },
      runs: latencies(found.runs),
      empty: latencies(found.empty),
    };
  }

  /** Ends the run. */
  async stop(): Promise<void> {
    await fetch(`${this.#target.url}/runs/${this.#id}/stop`, { method: "POST" });
    await this.#until("end", async () => {
      const response = await fetch(`${this.#target.url}/runs/${this.#id}`);
      return (await response.json()).state === "stopped";
    });
  }

  /** Ends the clients; the run ends with the server. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watchers[Symbol.asyncDispose]();
  }

  async #enter(): Promise<void> {
    await this.#watchers.ask(String(this.#position.lines));
  }

  /** @throws {Error} if a client got less than another */
  async #leave(): Promise<void> {
    const bytes = await this.#watchers.ask<number[]>("");
    if (Math.min(...bytes) > 0 && new Set(bytes).size === 1) return;
    throw new Error(
      `Cannot compare: clients got ${Math.min(...bytes)} to ${Math.max(...bytes)} bytes`,
    );
  }

  async #reach(step: number): Promise<void> {
    await this.#until(`reach step ${step}`, () => {
      const { lines, position } = readTail(
        join(this.#target.runs, this.#id, "events.jsonl"),
        this.#position,
      );
      this.#position = position;
      for (const { bytes } of lines) {
        const event = JSON.parse(new TextDecoder().decode(bytes)) as RunEvent;
        if (event.type === "step") this.#steps.push(event);
      }
      return (this.#steps.at(-1)?.step ?? 0) >= step;
    });
  }

  async #until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS;
    while (!await holds()) {
      if (Date.now() > deadline) throw new Error(`Cannot measure: the run did not ${what}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}

function latencies(values: readonly number[]): Latencies {
  const sorted = values.toSorted((a, b) => a - b);
  const quantile = (share: number) => sorted[Math.ceil(share * sorted.length) - 1]!;
  return { count: sorted.length, p50: quantile(0.5), p99: quantile(0.99), most: sorted.at(-1)! };
}
