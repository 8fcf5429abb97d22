/**
 * A tool of one's own, tasks for it, and a reward of one's own: the whole of what it takes to train
 * a model to call something that it has never seen. A few steps of imitation show it the call.
 *
 * @module
 */

import { type Episode, formatTasks, type RunResult, type Task } from "../mod.ts";
import { rewardOf, tool, train, type TrainOptions } from "../mod.ts";

/** How many of an article are in stock; `world` is what the task at hand knows of it. */
export const stock = tool({
  name: "stock",
  description: "Says how many of an article are in stock.",
  parameters: {
    type: "object",
    properties: { article: { type: "string" } },
    required: ["article"],
  },
  execute({ article }, { world }) {
    const count = (world as Record<string, number>)[String(article)];
    if (count === undefined) throw new Error(`no such article: ${article}`);
    return count;
  },
});

/** Articles by the dozen, each in a stock of its own. */
const tasks = ["pen", "cup", "map", "bag", "hat", "key"].flatMap((article, a) =>
  Array.from({ length: 12 }, (_, i): Task => {
    const count = 10 + (37 * a + 53 * i) % 90;
    const calls = [{ name: stock.name, arguments: { article }, result: count }];
    const [prompt, world, answer] = [`${article}s in store ${i}`, { [article]: count }, `${count}`];
    const about = { id: prompt, domain: "stock", split: "train", check: "number" } as const;
    return { ...about, prompt, world, answer, tools: [stock], reference: { calls, answer } };
  })
);

/** Right answers, less what every call beyond the first costs. */
export const score = ({ correct, attempts }: Episode) =>
  rewardOf({ correctness: correct ? 1 : 0, penalty: -0.1 * Math.max(0, attempts.length - 1) });

export async function trainOnStock(
  settings: Record<string, unknown> = {},
  options: TrainOptions = {},
): Promise<RunResult> {
  const file = await Deno.makeTempFile({ suffix: ".jsonl" });
  await Deno.writeTextFile(file, formatTasks(tasks));
  // The tools of a task file come from a module: this one.
  const config = { tasks: file, tools: import.meta.filename, warmupSft: 10, steps: 20 };
  return await train({ ...config, ...settings }, { ...options, reward: { score } });
}

if (import.meta.main) console.table((await trainOnStock()).domains.map(({ after }) => after));
