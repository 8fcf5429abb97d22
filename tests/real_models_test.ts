// Real checkpoints beside what llama.cpp makes of the same files (golden/llama_cpp.json). They are
// too large for the repository: the tests are ignored unless MENTOR_MODELS names a folder that
// holds them, by the names in the golden file.

import { assert, assertEquals, assertLess } from "@std/assert";
import { join } from "@std/path";
import { firstDifference, perplexity, sha256, texts } from "../bench/checkpoints.ts";
import { mentorSpeaker } from "../bench/peers/mentor_speech.ts";
import type { Speaker } from "../bench/peers/speech.ts";
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
  /** The same where the file's weights are dequantised to f32 before. */
  readonly f32: Pick<Golden, "nll" | "continuation">;
}

/** How near Mentor has to be. */
interface Tolerance {
  /** Relative, of the perplexity. */
  readonly perplexity: number;
  /** Of a token's log p, on average. */
  readonly logp: number;
  /** Of the logits of two tokens at the first other choice: one that hangs on less is a tie. */
  readonly tie: number;
}

/** Tokens up to which the greedy continuations are the same, where it was measured. */
const SAME_TOKENS: Readonly<Record<string, number>> = {
  "smollm2-135m-instruct-q4_1.gguf": 3,
  "gemma3-270m-q4_k_m.gguf": 8,
};
/**
 * For quantised weights llama.cpp quantises activations to 8 bits: log p of single tokens is off by
 * 0.06 to 0.08 on average, and by 0.4 to 0.9 at most.
 */
const QUANTISED: Tolerance = { perplexity: 0.01, logp: 0.12, tie: 0.4 };
/** With weights in f32 it does not. What is left is that Mentor rounds weights to bfloat16. */
const F32: Tolerance = { perplexity: 0.002, logp: 0.02, tie: 0.1 };

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
  checkScores(nll, golden.nll, QUANTISED);
  checkScores(nll, golden.f32.nll, F32);

  const own = await speaker.proceed(golden.prompt, golden.continuation.length);
  const index = await checkContinuation(speaker, golden, own, golden.continuation, QUANTISED);
  assert(
    index === null || index >= SAME_TOKENS[golden.file]!,
    `greedy tokens differ from ${index} on`,
  );
  await checkContinuation(speaker, golden, own, golden.f32.continuation, F32);
}

function checkScores(nll: readonly number[], theirs: readonly number[], allowed: Tolerance): void {
  const ratio = perplexity(nll) / perplexity(theirs);
  assertLess(Math.abs(ratio - 1), allowed.perplexity, `perplexity is ${ratio} times llama.cpp's`);
  const apart = nll.map((value, i) => Math.abs(value - theirs[i]!));
  assertLess(apart.reduce((sum, value) => sum + value, 0) / apart.length, allowed.logp);
}

/** The first other token's index, where Mentor's choice must be a tie; null if there is none. */
async function checkContinuation(
  speaker: Speaker,
  { prompt }: Golden,
  own: readonly number[],
  theirs: readonly number[],
  allowed: Tolerance,
): Promise<number | null> {
  const index = firstDifference(own, theirs);
  if (index === null) return null;
  const before = [...prompt, ...own.slice(0, index)];
  const [chosen, other] = await speaker.logProbabilities(before, [own[index]!, theirs[index]!]);
  assertLess(chosen! - other!, allowed.tie, `at index ${index} Mentor chooses another token`);
  return index;
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch {
    return false;
  }
}
