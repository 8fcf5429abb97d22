// What the bench of real checkpoints says, without a checkpoint.

import { assertEquals, assertRejects } from "@std/assert";
import {
  type CheckpointReport,
  checkpoints,
  firstDifference,
  perplexity,
  type Reading,
  renderCheckpoints,
  startReader,
  texts,
} from "../bench/checkpoints.ts";
import { ContenderError } from "../bench/peers/contender.ts";

const reading = (fields: Partial<Reading>): Reading => ({
  contender: "mentor",
  library: "Mentor, bf16",
  perplexity: 20.25,
  continuation: [1, 2],
  firstTokenMs: { fastest: 99.6, median: 120 },
  tokensPerSecond: { fastest: 12.34, median: 10 },
  ...fields,
});

const report = (fields: Partial<CheckpointReport>): CheckpointReport => ({
  file: "a.gguf",
  sha256: "00",
  passageTokens: 389,
  promptTokens: 99,
  readings: [
    reading({}),
    reading({ contender: "llama.cpp 1 thread", library: "llama.cpp" }),
    reading({ contender: "llama.cpp 2 threads", library: "llama.cpp", perplexity: null }),
  ],
  sameTokens: true,
  difference: { perplexity: 0.00034, tokenMean: 0.056, tokenLargest: 0.432 },
  divergence: null,
  ...fields,
});

Deno.test("a perplexity is that of the mean", () => {
  assertEquals(perplexity([0, 0]), 1);
  assertEquals(perplexity([Math.log(2), Math.log(8)]).toFixed(6), "4.000000");
});

Deno.test("continuations differ at their first other token, or where the shorter ends", () => {
  assertEquals(firstDifference([1, 2, 3], [1, 2, 3]), null);
  assertEquals(firstDifference([1, 2, 3], [1, 4, 3]), 1);
  assertEquals(firstDifference([1, 2, 3], [1, 2]), 2);
  assertEquals(firstDifference([1], [1, 2]), 1);
});

Deno.test("a checkpoint's report compares with llama.cpp", () => {
  const lines = renderCheckpoints([report({})]).split("\n");
  assertEquals(lines[0], "a.gguf: a passage of 389 tokens, a prompt of 99");
  assertEquals(lines[2]!.split(/ {2,}/), [
    ...["mentor", "20.250", "100 ms", "120 ms", "12.3", "10.0", "Mentor, bf16"],
  ]);
  assertEquals(lines[4]!.split(/ {2,}/)[1], "100 ms");
  assertEquals(lines.slice(5), [
    "the same tokens for both texts",
    "perplexity +0.034 % against llama.cpp's; a token's log p differs by 0.056 on average, by " +
    "0.43 at most",
    "the same 32 greedy tokens",
  ]);
});

Deno.test("a checkpoint's report says where continuations part, and that tokens differ", () => {
  const divergence = { index: 3, tokens: [5, 6], leads: [0.2054, -0.1] } as const;
  const lines = renderCheckpoints([report({ divergence, sameTokens: false })]).split("\n");
  assertEquals(lines[5], "DIFFERENT TOKENS for the same texts");
  assertEquals(
    lines[7],
    "the same greedy tokens up to index 3 of 32: there the lead of token 5 over 6 is +0.205 in " +
      "Mentor, -0.100 in llama.cpp",
  );
});

Deno.test("without llama.cpp there is nothing to compare with", () => {
  const alone = report({ readings: [reading({})], sameTokens: null, difference: null });
  assertEquals(renderCheckpoints([alone]).split("\n").length, 3);
});

Deno.test("a checkpoint that is not there is said before anything starts", async () => {
  await assertRejects(() => checkpoints({ files: ["no/such.gguf"] }), Deno.errors.NotFound);
});

Deno.test("a file that is no checkpoint is Mentor's failure, with its message", async () => {
  const file = await Deno.makeTempFile({ suffix: ".gguf" });
  try {
    await assertRejects(() => startReader("mentor", file), ContenderError, "Cannot read");
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("the texts end without a line break, which would be one more token", async () => {
  for (const text of Object.values(await texts())) assertEquals(text, text.trim());
});
