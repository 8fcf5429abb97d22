import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import { decodeSafetensors, encodeSafetensors } from "../src/io/safetensors.ts";
import { Decoder } from "../src/model/decoder.ts";
import { ValueHead } from "../src/model/value_head.ts";
import { Random } from "../src/random.ts";
import type { MaskedSequence } from "../src/rl/packing.ts";
import { scoreTokens, scoreValues } from "../src/rl/score_tokens.ts";
import { tiny } from "./models.ts";

const gpu = await Gpu.open();
Deno.test.afterAll(() => gpu.close());

/** Sequences of random tokens, about half of them predicted; that of length 5 predicts nothing. */
function sequences(lengths: readonly number[]): MaskedSequence[] {
  const random = new Random("sequences");
  return lengths.map((length) => ({
    ids: Uint32Array.from({ length }, () => random.int(0, tiny.vocabSize - 1)),
    mask: Uint8Array.from(
      { length },
      (_, t) => t > 0 && length !== 5 && (t === length - 1 || random.chance(0.5)) ? 1 : 0,
    ),
  }));
}

const LENGTHS = [7, 2, 5, 19, 11, 3, 20];

Deno.test("scores are the log-softmax of the logits, each sequence its own, over micro-batches", async () => {
  using model = Decoder.create(gpu, tiny, { seed: 3 });
  const V = tiny.vocabSize;
  for (const temperature of [1, 0.7]) {
    const batch = sequences(LENGTHS);
    const submits = gpu.stats().submits;
    const scores = await scoreTokens(model, batch, { temperature, tokenBudget: 24 });
    assertEquals(gpu.stats().submits, submits + 1);
    for (const [i, { ids, mask }] of batch.entries()) {
      const { logprobs, entropies, values } = scores[i]!;
      assertEquals(values, null);
      assertEquals([logprobs.length, entropies.length], [ids.length, ids.length]);
      const logits = await model.logits(ids);
      for (let t = 0; t < ids.length; t++) {
        if (!mask[t]) {
          assertEquals([logprobs[t], entropies[t]], [0, 0]);
          continue;
        }
        const row = [...logits.subarray((t - 1) * V, t * V)].map((x) => x / temperature);
        const total = Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
        const entropy = -row.reduce((sum, x) => sum + Math.exp(x - total) * (x - total), 0);
        assertAlmostEquals(logprobs[t]!, row[ids[t]!]! - total, 1e-4);
        assertAlmostEquals(entropies[t]!, entropy, 1e-4);
      }
    }
  }
});

Deno.test("values are a head's of the state before the token, and survive a file", async () => {
  using model = Decoder.create(gpu, tiny, { seed: 4 });
  using head = new ValueHead(gpu, tiny.hiddenSize);
  const batch = sequences(LENGTHS);
  const options = { tokenBudget: 24, head };
  const fresh = await scoreTokens(model, batch, options);
  assert(fresh.every(({ values }) => values!.every((value) => value === 0)));

  const random = new Random("head");
  const w = Float32Array.from({ length: tiny.hiddenSize }, () => 2 * random.float() - 1);
  const whole = new Map([
    ["value_head.weight", Float32Array.of(...w, ...new Float32Array(3 * w.length))],
    ["value_head.bias", Float32Array.of(0.25, 0, 0, 0)],
  ]);
  const file = decodeSafetensors(encodeSafetensors(head.takeApart(whole))).tensors;
  assertEquals([...file].map(([name, { shape }]) => [name, shape]), [
    ["value_head.weight", [1, tiny.hiddenSize]],
    ["value_head.bias", [1]],
  ]);
  head.restore(file, "head.safetensors");
  assertEquals(await head.tensors(), head.takeApart(whole));

  // With a row of the vocabulary table for a head, the model's own logits tell what h w is.
  const table = (await model.values()).get("lm_head.weight")!;
  head.restore(
    head.takeApart(
      new Map([
        ["value_head.weight", table.subarray(0, 4 * tiny.hiddenSize)],
        ["value_head.bias", Float32Array.of(0.25, 0, 0, 0)],
      ]),
    ),
    "head.safetensors",
  );
  const scores = await scoreTokens(model, batch, options);
  const alone = await scoreValues(model, head, batch, options);
  for (const [i, { ids, mask }] of batch.entries()) {
    assertEquals(alone[i], scores[i]!.values);
    const logits = await model.logits(ids);
    scores[i]!.values!.forEach((value, t) => {
      const expected = mask[t] ? logits[(t - 1) * tiny.vocabSize]! + 0.25 : 0;
      assertAlmostEquals(value, expected, 1e-4);
    });
  }
});

Deno.test("sequences without a predicted token score zeros, with or without others", async () => {
  using model = Decoder.create(gpu, tiny);
  const [scores] = await scoreTokens(model, sequences([5]), { tokenBudget: 24 });
  const nothing = new Float32Array(5);
  assertEquals(scores, { logprobs: nothing, entropies: nothing, values: null });
  const mixed = await scoreTokens(model, sequences(LENGTHS), { tokenBudget: 24 });
  assertEquals(mixed[2], { logprobs: nothing, entropies: nothing, values: null });
  assertEquals(await scoreTokens(model, [], { tokenBudget: 24 }), []);
});

Deno.test("scoring again creates no buffer and gives the same bits", async () => {
  using model = Decoder.create(gpu, tiny);
  using head = new ValueHead(gpu, tiny.hiddenSize);
  const batch = sequences(LENGTHS);
  const first = await scoreTokens(model, batch, { tokenBudget: 24, head });
  const before = gpu.memory();
  const second = await scoreTokens(model, batch, { tokenBudget: 24, head });
  assertEquals(gpu.memory().created, before.created);
  assertEquals(first, second);
});

Deno.test("a head of another model is refused with what is wrong with it", () => {
  using head = new ValueHead(gpu, 8);
  using other = new ValueHead(gpu, 12);
  const stored = other.takeApart(
    new Map([...other.parameters].map(([name, { size }]) => [name, new Float32Array(size)])),
  );
  let message = "";
  try {
    head.restore(stored, "critic.safetensors");
  } catch (error) {
    message = (error as Error).message;
  }
  assertEquals(
    message,
    'Cannot load a value head from "critic.safetensors": "value_head.weight" has shape [1, 12], ' +
      "expected [1, 8]. Check that it was trained on this model",
  );
});
