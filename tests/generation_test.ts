// Generation: what is sampled depends on the weights, the prompt, the seed and the stream, and on
// nothing else; its log-probabilities are those that training computes.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import type { StoredTensor } from "../src/io/safetensors.ts";
import { sizedConfig } from "../src/model/config.ts";
import { tensorShapes } from "../src/model/parameters.ts";
import { DecodeSlots } from "../src/model/decode_slots.ts";
import { Decoder } from "../src/model/decoder.ts";
import { generate } from "../src/model/generate.ts";
import {
  type GeneratedTurn,
  Generator,
  type GeneratorOptions,
  type Sequence,
} from "../src/model/generator.ts";
import { tokenStatistics } from "../src/model/nll.ts";
import type { SamplingOptions } from "../src/ops/sample.ts";
import { Tape } from "../src/tape.ts";
import { elements } from "../src/tensor.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { tiny } from "./models.ts";

const gpu = await Gpu.open();
const model = Decoder.create(gpu, tiny, { seed: 8 });
Deno.test.afterAll(() => gpu.close());

const SAMPLING: SamplingOptions = { temperature: 1, topK: 0, topP: 1, seed: 3 };
const STOPS = [3, 40] as const;
const LENGTH = 48;

/** What a sequence asks for; `replies` are fed at its stops, one after the other. */
interface Request {
  readonly prompt: readonly number[];
  readonly stream: number;
  readonly limit?: number;
  readonly replies?: readonly (readonly number[])[];
}

/** A sequence that was generated: its turns, and all of its tokens with a mask of sampled ones. */
interface Result {
  turns: GeneratedTurn[];
  ids: number[];
  sampled: boolean[];
}

function recorded({ prompt, stream, limit = LENGTH, replies = [] }: Request) {
  const result: Result = { turns: [], ids: [...prompt], sampled: prompt.map(() => false) };
  const append = (tokens: readonly number[], sampled: boolean) => {
    result.ids.push(...tokens);
    result.sampled.push(...tokens.map(() => sampled));
  };
  const onTurn = (turn: GeneratedTurn) => {
    append(turn.tokens, true);
    const reply = turn.reason === "stop" ? replies[result.turns.length] : undefined;
    result.turns.push(turn);
    if (!reply) return null;
    if (result.ids.length + reply.length < limit) append(reply, false);
    return Uint32Array.from(reply);
  };
  const sequence: Sequence = { prompt: Uint32Array.from(prompt), stream, limit, onTurn };
  return { result, sequence };
}

async function sample(
  generator: Generator,
  requests: readonly Request[],
  sampling: Partial<SamplingOptions> = {},
): Promise<Result[]> {
  const all = requests.map(recorded);
  await generator.run(all.map(({ sequence }) => sequence), { ...SAMPLING, ...sampling });
  return all.map(({ result }) => result);
}

function generator(options: Partial<GeneratorOptions> = {}, of = model): Generator {
  return new Generator(of, { slots: 4, length: LENGTH, stops: STOPS, ...options });
}

/** Prompts of several lengths, alone and in groups, with answers at their stops. */
const requests: Request[] = Array.from({ length: 11 }, (_, i) => ({
  prompt: Array.from({ length: 1 + 5 * (i >> 2) }, (_, j) => (7 * j + (i >> 2) + 4) % 52),
  stream: 100 + i,
  limit: 24 + i,
  replies: [[1, 2], [9], Array.from({ length: i }, (_, j) => j + 20)],
}));

const alone = await (async () => {
  const results: Result[] = [];
  using one = generator({ slots: 1, stepsPerRead: 4 });
  for (const request of requests) results.push(...await sample(one, [request]));
  return results;
})();

Deno.test("the sequences that the tests compare stop, get answers and reach their limits", () => {
  const turns = alone.flatMap(({ turns }) => turns);
  assert(turns.some(({ reason, tokens }) => reason === "stop" && tokens.length > 1));
  assert(turns.some(({ reason }) => reason === "length"));
  assert(alone.some(({ turns }) => turns.length >= 2));
  assertEquals(new Set(alone.map(({ ids }) => ids.join())).size, alone.length);
});

for (
  const [name, options, reverse] of [
    ["one slot each", { slots: 11 }, false],
    ["fewer slots than sequences", { slots: 3, stepsPerRead: 5 }, false],
    ["another order", { slots: 4, stepsPerRead: 16 }, true],
    ["a look after every token", { slots: 5, stepsPerRead: 1 }, false],
    ["a round in flight while one is read", { slots: 3, stepsPerRead: 2, roundsInFlight: 2 }, true],
    ["three rounds in flight", { slots: 2, stepsPerRead: 3, roundsInFlight: 3 }, false],
    ["more rounds in flight than any sequence has", { stepsPerRead: 2, roundsInFlight: 50 }, true],
    ["a longer cache", { slots: 6, length: 64 }, true],
  ] as const
) {
  Deno.test(`a batch gives the same bits as one by one: ${name}`, async () => {
    using batch = generator(options);
    const order = reverse ? requests.toReversed() : requests;
    const results = await sample(batch, order);
    assertEquals(reverse ? results.toReversed() : results, alone);
  });
}

/** Sequences that stop often, in slots of their own, with answers of all lengths. */
const talkative: Request[] = Array.from({ length: 24 }, (_, i) => {
  const bits = (from: number) => Math.imul(i + 1, 2654435761) >>> from;
  const reply = (k: number) =>
    Array.from({ length: 1 + bits(k + 5) % 7 }, (_, j) => 5 + (j + k + i) % 30);
  return {
    prompt: Array.from({ length: 8 + bits(3) % 12 }, (_, j) => (7 * j + i) % 39 + 4),
    stream: 100 + i,
    limit: 44 + bits(9) % 20,
    replies: [0, 1, 2, 3].map(reply),
  };
});

for (const roundsInFlight of [1, 2, 3]) {
  const name = "slots that stop while others are fed keep their caches";
  Deno.test(`${name}: ${roundsInFlight} in flight`, async () => {
    using one = generator({ slots: 1, length: 64, roundsInFlight: 1 });
    const expected = await sample(one, talkative);
    for (const slots of [6, 24]) {
      for (const stepsPerRead of [2, 6]) {
        using batch = generator({ slots, length: 64, stepsPerRead, roundsInFlight });
        for (const late of [false, true]) {
          const all = talkative.map(recorded);
          const sequences = all.map(({ sequence }, i): Sequence => ({
            ...sequence,
            async onTurn(turn) {
              for (let wait = late ? (i + turn.tokens.length) % 8 : 0; wait > 0; wait--) {
                await new Promise((resolve) => setTimeout(resolve));
              }
              return await sequence.onTurn(turn);
            },
          }));
          await batch.run(sequences, SAMPLING);
          assertEquals(all.map(({ result }) => result), expected);
        }
      }
    }
  });
}

Deno.test("a sequence hears once that it has ended, behind its last turn, unless it was aborted", async () => {
  using batch = generator({ slots: 3 });
  const heard: string[] = [];
  const controller = new AbortController();
  const sequences = requests.slice(0, 6).map((request, i): Sequence => ({
    ...recorded(request).sequence,
    ...(i === 2 ? { signal: controller.signal } : {}),
    onTurn() {
      heard.push(`turn ${i}`);
      if (i === 2) controller.abort();
      return null;
    },
    onEnd: () => heard.push(`end ${i}`),
  }));
  await batch.run(sequences, SAMPLING);
  for (const i of [0, 1, 3, 4, 5]) {
    assertEquals(heard.filter((event) => event.endsWith(` ${i}`)), [`turn ${i}`, `end ${i}`]);
  }
  assertEquals(heard.filter((event) => event.endsWith(" 2")), ["turn 2"]);
});

Deno.test("what onEnd throws ends the generation, and the generator can be used again", async () => {
  using batch = generator();
  const [{ sequence }] = requests.slice(0, 1).map(recorded) as [ReturnType<typeof recorded>];
  const onEnd = () => {
    throw new Error("no room on the shelf");
  };
  await assertRejects(() => batch.run([{ ...sequence, onEnd }], SAMPLING), Error, "on the shelf");
  assertEquals(await sample(batch, requests), alone);
});

Deno.test("a generator gives the same again, whatever it did before", async () => {
  using again = generator();
  await sample(again, requests.slice(3, 8), { temperature: 2, seed: 9 });
  assertEquals(await sample(again, requests), alone);
  assertEquals(await sample(again, requests), alone);
});

Deno.test("a group that shares a prompt draws what its members draw alone", async () => {
  const prompt = Array.from({ length: 17 }, (_, i) => (11 * i + 2) % 52);
  const group = Array.from({ length: 6 }, (_, i) => ({ prompt, stream: i, limit: 40 }));
  using batch = generator({ slots: 6 });
  using one = generator({ slots: 1 });
  const together = await sample(batch, group);
  assertEquals(new Set(together.map(({ ids }) => ids.join())).size, 6, "streams differ");
  for (const [i, request] of group.entries()) {
    assertEquals(await sample(one, [request]), [together[i]]);
  }
});

Deno.test("a group's prompt is computed once and copied, layer by layer", async () => {
  using batch = generator({ slots: 6, stops: [99, 99] });
  const dispatches = async (prompts: number[][]) => {
    const before = gpu.stats().dispatches;
    await sample(batch, prompts.map((prompt, stream) => ({ prompt, stream, limit: 20 })));
    return gpu.stats().dispatches - before;
  };
  const different = Array.from({ length: 6 }, (_, i) => [i, 20, 21, 22]);
  const equal = Array<number[]>(6).fill([9, 20, 21, 22]);
  // Known tokens are fed together with the first step, but for what is to be copied before it.
  using slots = new DecodeSlots(model, 1, 8, 1, [99, 99]);
  const { dispatches: before } = gpu.stats();
  slots.prefill([{ slot: 0, position: 0, token: 9 }]);
  const pass = gpu.stats().dispatches - before;
  gpu.discard();
  assertEquals(await dispatches(equal), await dispatches(different) + pass + tiny.layers);
});

Deno.test("a slot whose prompt is about to be replaced is not forked from", async () => {
  // Both slots fall free in one round; the first waiting prompt is held by the second slot, which
  // the other waiting prompt takes.
  const P = Array.from({ length: 9 }, (_, i) => i + 4);
  const Q = Array.from({ length: 9 }, (_, i) => 30 - i);
  const R = Array.from({ length: 9 }, (_, i) => 3 * i + 11);
  const order = [R, P, P, Q, Q, Q, P, R, R, Q];
  const mixed = order.map((prompt, i) => ({ prompt, stream: i, limit: 16 }));
  using one = generator({ slots: 1, stops: [99, 99] });
  const expected: Result[] = [];
  for (const request of mixed) expected.push(...await sample(one, [request]));
  for (const slots of [2, 3]) {
    using batch = generator({ slots, stops: [99, 99] });
    assertEquals(await sample(batch, mixed), expected, `${slots} slots`);
  }
});

Deno.test("sampled log-probabilities are those of the training forward", async () => {
  for (const temperature of [1, 0.7]) {
    using batch = generator();
    const results = await sample(batch, requests, { temperature });
    const ids = Uint32Array.from(results.flatMap(({ ids }) => ids));
    const sampled = results.flatMap(({ sampled }) => sampled);
    const targets = Uint32Array.from(sampled.keys().filter((t) => sampled[t]));
    const lengths = results.map(({ ids }) => ids.length);
    const tape = new Tape(gpu, { recording: false });
    const packed = { ids, lengths, targets };
    const reading = gpu.read(tokenStatistics(tape, model, packed, { temperature }).logprob);
    gpu.endStep();
    const forced = new Float32Array((await reading)[0]!);
    const drawn = results.flatMap(({ turns }) => turns.flatMap(({ logprobs }) => logprobs));
    assertEquals(forced.length, drawn.length);
    const worst = Math.max(...drawn.map((logprob, i) => Math.abs(logprob - forced[i]!)));
    assert(worst < 1e-5, `difference ${worst} at temperature ${temperature}`);
  }
});

Deno.test("a sequence ends at its limit, and a turn at a stop token", () => {
  for (const [i, { ids, turns }] of alone.entries()) {
    const { limit } = requests[i]!;
    assert(ids.length <= limit!);
    for (const { tokens, logprobs, reason } of turns) {
      assertEquals(tokens.length, logprobs.length);
      assert(logprobs.every((logprob) => logprob <= 0));
      const stops = tokens.filter((token) => STOPS.some((stop) => stop === token));
      assertEquals(stops.length, reason === "stop" ? 1 : 0);
      if (reason === "stop") assertEquals(stops[0], tokens.at(-1));
    }
    if (turns.at(-1)!.reason === "length" && turns.at(-1)!.tokens.length > 0) {
      assertEquals(ids.length, limit);
    }
  }
});

Deno.test("an answer that doesn't fit the limit ends the sequence with an empty turn", async () => {
  using one = generator({ slots: 2 });
  const turns: GeneratedTurn[] = [];
  const prompt = Uint32Array.of(5, 6);
  const onTurn = (turn: GeneratedTurn) => {
    turns.push(turn);
    const room = LENGTH - 2 - turns.reduce((sum, { tokens }) => sum + tokens.length, 0);
    return turn.reason === "stop" ? new Uint32Array(room).fill(1) : null;
  };
  await one.run([{ prompt, stream: 1, limit: LENGTH, onTurn }], SAMPLING);
  assertEquals(turns.map(({ reason }) => reason), ["stop", "length"]);
  assertEquals(turns[1], { tokens: [], logprobs: [], reason: "length" });
});

Deno.test("a limit just above the prompt leaves one token", async () => {
  using one = generator({ slots: 2 });
  const prompt = Array.from({ length: LENGTH - 1 }, (_, i) => i % 52);
  const [result] = await sample(one, [{ prompt, stream: 0 }]);
  assertEquals(result!.ids.length, LENGTH);
  assertEquals(result!.turns.length, 1);
});

Deno.test("a reply may be empty: the model goes on after its stop token", async () => {
  using one = generator({ slots: 1 });
  const prompt = [5, 6];
  const [result] = await sample(one, [{ prompt, stream: 1, replies: [[], [], []] }]);
  assert(result!.turns.length > 1);
  assertEquals(result!.ids.slice(2), result!.turns.flatMap(({ tokens }) => tokens));
});

Deno.test("no sequences are no work", async () => {
  using one = generator();
  const { submits } = gpu.stats();
  await one.run([], SAMPLING);
  assertEquals(gpu.stats().submits, submits);
});

Deno.test("prompts, tokens and options that do not fit are refused before anything runs", async () => {
  using one = generator();
  const refused: [Partial<Sequence>, string][] = [
    [{ prompt: new Uint32Array(0) }, "a prompt of 0 tokens"],
    [{ prompt: new Uint32Array(20), limit: 20 }, "a prompt of 20 tokens"],
    [{ limit: LENGTH + 1 }, "up to 48, got 49"],
    [{ prompt: Uint32Array.of(1, 52) }, "token 52"],
  ];
  for (const [change, message] of refused) {
    const { sequence } = recorded({ prompt: [1, 2], stream: 0 });
    const { submits } = gpu.stats();
    await assertRejects(
      () => one.run([sequence, { ...sequence, ...change }], SAMPLING),
      RangeError,
      message,
    );
    assertEquals(gpu.stats().submits, submits);
  }
  for (
    const change of [
      { temperature: -1 },
      { temperature: NaN },
      { topK: -1 },
      { topK: 1.5 },
      { topP: 0 },
      { topP: 1.1 },
    ]
  ) {
    const [name] = Object.keys(change);
    await assertRejects(() => sample(one, requests, change), RangeError, name);
  }
  for (const change of [{ slots: 0 }, { stepsPerRead: 0 }, { length: 0 }, { roundsInFlight: 0 }]) {
    assertThrows(() => generator(change), RangeError, Object.keys(change)[0]);
  }
  assertThrows(() => generator({ length: 65 }), RangeError, "the model's context is 64");
});

Deno.test("a reply with a token outside the vocabulary is refused", async () => {
  using one = generator();
  const bad = { ...requests[0]!, replies: [[1, 77]] };
  await assertRejects(() => sample(one, [bad, ...requests]), RangeError, "token 77");
  assertEquals(await sample(one, requests), alone);
});

for (const roundsInFlight of [1, 2]) {
  const depth = `${roundsInFlight} in flight`;
  Deno.test(`an exception of onTurn ends the run, and the generator can run again (${depth})`, async () => {
    using one = generator({ slots: 3, stepsPerRead: 2, roundsInFlight });
    for (const later of [false, true]) {
      const all = requests.map(recorded);
      const sequences = all.map(({ sequence }, i) =>
        i !== 4 ? sequence : {
          ...sequence,
          async onTurn() {
            if (later) await new Promise((resolve) => setTimeout(resolve, 30));
            throw new Error("the tool's world ended");
          },
        }
      );
      await assertRejects(() => one.run(sequences, SAMPLING), Error, "the tool's world ended");
      assertEquals(await sample(one, requests), alone);
    }
  });
}

Deno.test("a generator refuses a second run while one is under way", async () => {
  using one = generator();
  const first = sample(one, requests);
  await assertRejects(() => sample(one, requests), TypeError, "already running");
  assertEquals(await first, alone);
});

Deno.test("a tool that takes its time holds up nobody else", async () => {
  using two = generator({ slots: 2 });
  const all = requests.map(recorded);
  const others = Promise.all(
    all.slice(1).map(({ sequence }) =>
      new Promise<void>((resolve) => {
        const { onTurn } = sequence;
        sequence.onTurn = (turn) => {
          const reply = onTurn(turn);
          if (reply === null) resolve();
          return reply;
        };
      })
    ),
  );
  // The first sequence's tool answers only when every other sequence has ended: a generator that
  // waits for it never ends.
  const { onTurn } = all[0]!.sequence;
  all[0]!.sequence.onTurn = async (turn) => {
    await others;
    await new Promise((resolve) => setTimeout(resolve, 20));
    return onTurn(turn);
  };
  await two.run(all.map(({ sequence }) => sequence), SAMPLING);
  assertEquals(all.map(({ result }) => result), alone);
});

Deno.test("onTurn may use the model itself", async () => {
  using two = generator({ slots: 2 });
  const all = requests.map(recorded);
  for (const { sequence, result } of all) {
    const { onTurn } = sequence;
    sequence.onTurn = async (turn) => {
      const logits = await model.logits(Uint32Array.from(result.ids));
      assert(logits.every(Number.isFinite));
      return onTurn(turn);
    };
  }
  await two.run(all.map(({ sequence }) => sequence), SAMPLING);
  assertEquals(all.map(({ result }) => result), alone);
});

Deno.test("weights that are not finite are reported, not sampled from", async () => {
  const damage = async (name: string, value: number) => {
    const weights = await model.values();
    const tensors = new Map<string, StoredTensor>();
    for (const [other, shape] of tensorShapes(tiny)) {
      const data = other === name
        ? weights.get(name)!.map((x, i) => i === 100 ? value : x)
        : new Float32Array(elements(shape)).fill(0.1);
      tensors.set(other, { dtype: "F32", shape, data: new Uint8Array(data.buffer) });
    }
    return Decoder.fromTensors(gpu, tiny, tensors);
  };
  for (
    const [name, value] of [
      ["model.layers.0.mlp.up_proj.weight", NaN], // every logit
      ["lm_head.weight", NaN], // one logit
      ["lm_head.weight", Infinity],
    ] as const
  ) {
    using broken = await damage(name, value);
    using of = generator({ slots: 3 }, broken);
    for (const temperature of [1, 0]) {
      await assertRejects(
        () => sample(of, requests, { temperature }),
        RangeError,
        "logits are not finite",
        `${name} ${value} at temperature ${temperature}`,
      );
    }
  }
  using one = generator();
  assertEquals(await sample(one, requests), alone);
});

/** For each sampled token: the logits that it was drawn from, by the packed forward. */
async function logitsOf({ ids, sampled }: Result): Promise<{ token: number; logits: number[] }[]> {
  const all = await model.logits(Uint32Array.from(ids));
  const V = tiny.vocabSize;
  return ids.flatMap((token, t) =>
    sampled[t] ? [{ token, logits: [...all.subarray((t - 1) * V, t * V)] }] : []
  );
}

Deno.test("temperature 0 takes the most likely token", async () => {
  using batch = generator();
  const results = await sample(batch, requests.slice(0, 5), { temperature: 0 });
  assertEquals(await sample(batch, requests.slice(0, 5), { temperature: 0, seed: 8 }), results);
  assertEquals(await sample(batch, requests.slice(0, 5), { topK: 1 }), results, "so does top-1");
  for (const result of results) {
    for (const { token, logits } of await logitsOf(result)) {
      assertEquals(token, logits.indexOf(Math.max(...logits)));
    }
  }
});

Deno.test("top-k draws among the k most likely tokens, and logprobs stay the whole's", async () => {
  using batch = generator();
  const ranks = new Set<number>();
  for (const result of await sample(batch, requests, { topK: 3 })) {
    const logprobs = result.turns.flatMap(({ logprobs }) => logprobs);
    for (const [i, { token, logits }] of (await logitsOf(result)).entries()) {
      ranks.add(logits.toSorted((a, b) => b - a).indexOf(logits[token]!));
      const top = Math.max(...logits);
      const mass = logits.reduce((sum, z) => sum + Math.exp(z - top), 0);
      assert(Math.abs(logprobs[i]! - (logits[token]! - top - Math.log(mass))) < 1e-5);
    }
  }
  assertEquals([...ranks].sort(), [0, 1, 2]);
});

Deno.test("top-p draws among the fewest tokens that make up p", async () => {
  using batch = generator();
  for (const [topP, temperature] of [[0.5, 1], [0.5, 2], [0.05, 1]] as const) {
    let most = 0;
    for (const result of await sample(batch, requests, { topP, temperature })) {
      for (const { token, logits } of await logitsOf(result)) {
        const top = Math.max(...logits);
        const p = logits.map((z) => Math.exp((z - top) / temperature));
        const mass = p.reduce((sum, x) => sum + x);
        const above = p.filter((x) => x > p[token]!);
        const share = above.reduce((sum, x) => sum + x, 0) / mass;
        assert(share < topP + 1e-5, `token ${token} has ${share} above it`);
        most = Math.max(most, above.length);
      }
    }
    assert(topP < 0.1 || most > 3, `at most ${most} tokens above the drawn one`);
  }
});

const tokenizer = Tokenizer.bytes();
const writer = Decoder.create(gpu, sizedConfig("nano", tokenizer.vocabSize, 64), { seed: 2 });

Deno.test("generate() completes each prompt as it would alone", async () => {
  const prompts = ["a", "Once upon", Uint32Array.of(256, 51, 257), "a"];
  const all = await generate(writer, tokenizer, prompts, { maxTokens: 9, seed: 4, slots: 2 });
  assertEquals(all.length, 4);
  for (const { text, tokens, logprobs, reason } of all) {
    assertEquals([tokens.length, logprobs.length, reason], [9, 9, "length"]);
    assertEquals(text, tokenizer.decode(tokens, { skipSpecial: true }));
  }
  assert(all[0]!.text !== all[3]!.text, "equal prompts draw independently");
  const [first] = await generate(writer, tokenizer, ["a"], { maxTokens: 9, seed: 4 });
  assertEquals(first, all[0]);
  const [other] = await generate(writer, tokenizer, ["a"], { maxTokens: 9, seed: 5 });
  assert(other!.tokens.join() !== first!.tokens.join());
});

Deno.test("generate() ends a completion at its stop token", async () => {
  const [open] = await generate(writer, tokenizer, ["a"], { maxTokens: 9, temperature: 0 });
  const stop = open!.tokens[4]!;
  const end = open!.tokens.indexOf(stop) + 1;
  const [out] = await generate(writer, tokenizer, ["a"], { maxTokens: 9, temperature: 0, stop });
  assertEquals(out!.reason, "stop");
  assertEquals(out!.tokens, open!.tokens.slice(0, end));
});

Deno.test("generate() frees its memory, refuses what does not fit, and takes an empty list", async () => {
  assertEquals(await generate(writer, tokenizer, []), []);
  await generate(writer, tokenizer, ["abc"], { maxTokens: 4 });
  const { liveBytes } = gpu.memory();
  await generate(writer, tokenizer, ["abc"], { maxTokens: 4 });
  await assertRejects(
    () => generate(writer, tokenizer, ["abc", ""], { maxTokens: 4 }),
    RangeError,
    "0 tokens",
  );
  await assertRejects(
    () => generate(writer, tokenizer, ["abc"], { maxTokens: 62 }),
    RangeError,
    "65 tokens: the model's context is 64",
  );
  await assertRejects(
    () => generate(writer, tokenizer, ["abc"], { maxTokens: 0 }),
    RangeError,
    "maxTokens",
  );
  assertEquals(gpu.memory().liveBytes, liveBytes);
});

Deno.test("a sequence that waits for its tool gives its slot to the next and comes back unchanged", async () => {
  const run = async (slots: number, slow: boolean) => {
    using generator = new Generator(model, { slots, length: LENGTH, stops: STOPS });
    const ended = Promise.withResolvers<void>();
    const all = [0, 1].map((i) =>
      recorded({ prompt: [5 + i, 6, 7], stream: i, replies: [[9, 10], [11], [12, 13]] })
    );
    const sequences = all.map(({ sequence }, i): Sequence => ({
      ...sequence,
      async onTurn(turn) {
        // With one slot this never resolves unless the second sequence gets the slot meanwhile.
        if (slow && i === 0 && turn.reason === "stop") await ended.promise;
        const reply = await sequence.onTurn(turn);
        if (i === 1 && reply === null) ended.resolve();
        return reply;
      },
    }));
    await generator.run(sequences, SAMPLING);
    return all.map(({ result }) => result);
  };
  const expected = await run(2, false);
  assert(expected.some(({ turns }) => turns.length > 1));
  assertEquals(await run(1, true), expected);
});
