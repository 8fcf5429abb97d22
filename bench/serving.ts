/**
 * Completions over HTTP beside the generator that makes them: what the server adds.
 *
 * Both run the same sequences on the base model, in turn, with as many slots as requests. The
 * clients stream, and live in this process, too.
 *
 * @module
 */

import { fromFileUrl } from "@std/path";
import "../mod.ts";
import { Random } from "../src/random.ts";
import { Listener } from "../src/serve/listener.ts";
import { InferenceEngine, inferenceRoutes, loadServed } from "../src/serve/openai/mod.ts";
import type { BenchRow } from "./report.ts";
import { median, spread } from "./statistics.ts";

/** Requests at a time. */
const CONCURRENCY = [1, 8, 32] as const;
/** Tokens of a prompt, and those to be drawn: fewer where the model stops. */
const PROMPT = 48;
const MOST = 64;
const BASE = fromFileUrl(new URL("../assets/base-nano", import.meta.url));
const SETTINGS = {
  ...{ context: PROMPT + MOST, tuning: null, dtype: "auto" as const },
  chat: { format: "auto" as const, system: null },
};

/** Prompts of characters; sequence i has seed i. */
function promptsFor(count: number): number[][] {
  const random = new Random(1);
  return Array.from(
    { length: count },
    () => Array.from({ length: PROMPT }, () => random.int(97, 122)),
  );
}

/** Times both, after one round that is not counted. */
export async function serving(
  { repetitions, onProgress }: {
    readonly repetitions: number;
    readonly onProgress?: (done: number, total: number, what: string) => void;
  },
): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  const total = CONCURRENCY.length * (repetitions + 1);
  for (const [i, count] of CONCURRENCY.entries()) {
    const prompts = promptsFor(count);
    const load = () => loadServed(BASE, { ...SETTINGS, slots: count });
    await using engine = new InferenceEngine({ models: { base: BASE }, load, capacity: count });
    await using server = await Listener.open(inferenceRoutes(engine).fetch, {
      host: "127.0.0.1",
      port: 0,
    });
    using direct = await load();
    const url = `${server.url}/v1/completions`;
    const times: Record<"generator" | "http", number[]> = { generator: [], http: [] };
    let tokens = 0;
    for (let round = 0; round <= repetitions; round++) {
      onProgress?.(i * (repetitions + 1) + round + 1, total, `${count} at a time`);
      const contenders = {
        generator: () => generated(direct, prompts),
        http: () => requested(url, prompts),
      };
      for (const [name, run] of Object.entries(contenders)) {
        const start = performance.now();
        const drawn = await run();
        if (round > 0) times[name as keyof typeof times].push(performance.now() - start);
        if (tokens > 0 && drawn !== tokens) {
          throw new Error(`Cannot compare: ${name} drew ${drawn} tokens, another ${tokens}`);
        }
        tokens = drawn;
      }
    }
    const base = median(times.generator);
    for (const [name, all] of Object.entries(times)) {
      rows.push({
        work: `serve:${count}`,
        shape: `${count} x ${PROMPT} + ${MOST} tokens at most`,
        contender: name === "http" ? "mentor over HTTP" : "mentor",
        medianMs: median(all),
        spread: spread(all),
        rate: tokens / median(all) * 1000,
        unit: "tokens/s",
        ratioToMentor: median(all) / base,
        limit: null,
      });
    }
  }
  return rows;
}

/** @returns tokens drawn */
async function generated(
  { generator, length }: Awaited<ReturnType<typeof loadServed>>,
  prompts: readonly number[][],
): Promise<number> {
  let drawn = 0;
  const queue = generator.queue();
  prompts.forEach((prompt, seed) =>
    queue.push({
      ...{ prompt: Uint32Array.from(prompt), stream: 0, limit: length },
      onTurn({ tokens }) {
        drawn += tokens.length;
        return null;
      },
    }, { temperature: 1, topK: 0, topP: 1, seed })
  );
  queue.close();
  await generator.serve(queue);
  return drawn;
}

/** @returns tokens drawn */
async function requested(url: string, prompts: readonly number[][]): Promise<number> {
  const used = await Promise.all(prompts.map(async (prompt, seed) => {
    const response = await fetch(url, {
      method: "POST",
      body: JSON.stringify({
        ...{ model: "base", prompt, seed, max_tokens: MOST, stream: true },
        stream_options: { include_usage: true },
      }),
    });
    const events = (await response.text()).trimEnd().split("\n\n");
    return JSON.parse(events.at(-2)!.slice("data: ".length)).usage.completion_tokens as number;
  }));
  return used.reduce((sum, tokens) => sum + tokens, 0);
}
