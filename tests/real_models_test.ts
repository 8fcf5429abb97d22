// Real checkpoints beside what llama.cpp makes of the same files (golden/llama_cpp.json). They are
// too large for the repository: the tests are ignored unless MENTOR_MODELS names a folder that
// holds them, by the names in the golden file.

import { assert, assertEquals, assertLess } from "@std/assert";
import { join } from "@std/path";
import { firstDifference, perplexity, sha256, texts } from "../bench/checkpoints.ts";
import { mentorSpeaker } from "../bench/peers/mentor_speech.ts";
import { Gpu } from "../src/gpu/device.ts";

interface Golden {
  readonly file: string;
  readonly package: string;
  readonly sha256: string;
  readonly library: string;
  /** Ids of bench/data/passage.txt. */
  readonly passage: readonly number[];
  /** -log p of each of them but the first. */
  readonly nll: readonly number[];
  /** Ids of bench/data/prompt.txt. */
  readonly prompt: readonly number[];
  /** The greedy tokens that follow. */
  readonly continuation: readonly number[];
}

/** Tokens up to which the greedy continuations are the same, where it was measured. */
const SAME_TOKENS: Readonly<Record<string, number>> = {
  "smollm2-135m-instruct-q4_1.gguf": 3,
  "gemma3-270m-q4_k_m.gguf": 8,
};
/**
 * llama.cpp quantises activations to 8 bits: log p of single tokens differs by 0.06 to 0.08 on
 * average, and by 0.4 to 0.9 at most; rounding weights to bfloat16 adds 0.008 on average.
 */
const MEAN_DIFFERENCE = 0.12;
/** A choice between two tokens that hangs on less than this, in logits, is a tie. */
const TIE = 0.4;

const { models }: { models: Golden[] } = JSON.parse(
  await Deno.readTextFile(new URL("golden/llama_cpp.json", import.meta.url)),
);
const folder = Deno.env.get("MENTOR_MODELS");

for (const golden of models) {
  const path = folder === undefined ? null : join(folder, golden.file);
  const here = path !== null && await exists(path);
  const hint = here ? "" : ` (set MENTOR_MODELS to a folder with it; ${golden.package})`;
  Deno.test({
    name: `${golden.file} speaks as in llama.cpp${hint}`,
    ignore: !here,
    fn: () => compare(path!, golden),
  });
}

async function compare(path: string, golden: Golden): Promise<void> {
  assertEquals(await sha256(path), golden.sha256, `${path} is another file: get it anew`);
  using gpu = await Gpu.open();
  const { passage, prompt } = await texts();
  using speaker = await mentorSpeaker(gpu, path, 1024);
  assertEquals(await speaker.encode(passage), golden.passage);
  assertEquals(await speaker.encode(prompt), golden.prompt);

  const nll = await speaker.score(golden.passage);
  const ratio = perplexity(nll) / perplexity(golden.nll);
  assertLess(Math.abs(ratio - 1), 0.01, `perplexity is ${ratio} times llama.cpp's`);
  const apart = nll.map((value, i) => Math.abs(value - golden.nll[i]!));
  assertLess(apart.reduce((sum, value) => sum + value, 0) / apart.length, MEAN_DIFFERENCE);

  const { continuation } = golden;
  const own = await speaker.proceed(golden.prompt, continuation.length);
  const index = firstDifference(own, continuation);
  if (index === null) return;
  assert(index >= SAME_TOKENS[golden.file]!, `greedy tokens differ from index ${index} on`);
  const before = [...golden.prompt, ...own.slice(0, index)];
  const [chosen, other] = await speaker.logProbabilities(before, [
    own[index]!,
    continuation[index]!,
  ]);
  assertLess(chosen! - other!, TIE, `at index ${index} Mentor chooses another token`);
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch {
    return false;
  }
}
