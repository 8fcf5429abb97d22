// The smallest runs that there can be, for the tests of everything around runs.

import { join } from "@std/path";
import { Gpu } from "../mod.ts";
import { saveFolder } from "../src/io/checkpoint.ts";
import { Decoder } from "../src/model/decoder.ts";
import { readEvents, type RunEvent } from "../src/run/events.ts";
import { studentFiles } from "../src/run/student.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { tiny } from "./models.ts";

/** Where everything goes that a test leaves; removed in the end. */
export const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));
let runs = 0;
/** A place that nothing has been put in. */
export const freshPath = () => join(folder, `run-${runs++}`);

let made: Promise<string> | null = null;

/** A student of random weights, as a folder. */
export function studentFolder(): Promise<string> {
  return made ??= makeStudent();
}

async function makeStudent(): Promise<string> {
  const tokenizer = Tokenizer.bytes();
  using gpu = await Gpu.open();
  const config = { ...tiny, vocabSize: tokenizer.vocabSize, maxPositions: 1024 };
  using model = Decoder.create(gpu, config);
  const path = join(folder, "student");
  await saveFolder(path, await studentFiles({ model, tokenizer, base: null }));
  return path;
}

/** Settings of a run that takes a second or two. */
export async function settings(
  more: Record<string, unknown> = {},
): Promise<Record<string, unknown>> {
  return {
    from: await studentFolder(),
    out: freshPath(),
    steps: 3,
    rollout: { prompts: 2, group: 2, slots: 4, maxTokens: 48 },
    evaluation: { prompts: 1, samples: 1 },
    checkpoint: { everySteps: 2 },
    sft: { batch: 2, learningRate: 1e-2 },
    ...more,
  };
}

/** Everything that a run leaves, without what may differ between equal ones. */
export async function traces(run: string) {
  const text = (name: string) => Deno.readTextFile(join(run, name));
  const events = readEvents(join(run, "events.jsonl")).map((event) => {
    const { time: _time, timing: _timing, ...rest } = event as RunEvent & { timing?: unknown };
    return rest;
  });
  const model = await Deno.readFile(join(run, "model", "model.safetensors"));
  return { events, model, episodes: await text("episodes.jsonl") };
}
