// Sequences that come while others run: each draws what it would draw alone, in its own way.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import type { TokenLogprob } from "../src/model/decode_slots.ts";
import { Decoder } from "../src/model/decoder.ts";
import { type GeneratedTurn, Generator, type Sequence } from "../src/model/generator.ts";
import type { SamplingOptions } from "../src/ops/sample.ts";
import { tiny } from "./models.ts";

const gpu = await Gpu.open();
const model = Decoder.create(gpu, tiny, { seed: 8 });
Deno.test.afterAll(() => gpu.close());

const STOPS = [3, 40] as const;
const LENGTH = 48;
const samplings: SamplingOptions[] = [
  { temperature: 1, topK: 0, topP: 1, seed: 3 },
  { temperature: 0, topK: 0, topP: 1, seed: 0 },
  { temperature: 1.5, topK: 9, topP: 1, seed: 4 },
  { temperature: 0.8, topK: 0, topP: 0.7, seed: 5 },
];

/** A sequence that remembers its turn. */
function recorded(number: number, more: Partial<Sequence> = {}) {
  const result = { turns: [] as GeneratedTurn[], tokens: [] as number[] };
  const ended = Promise.withResolvers<void>();
  const sequence: Sequence = {
    prompt: Uint32Array.from({ length: 1 + number % 5 }, (_, j) => (7 * j + number) % 52),
    stream: number,
    limit: 20 + number,
    onToken: (token) => void result.tokens.push(token),
    onTurn(turn) {
      result.turns.push(turn);
      ended.resolve();
      return null;
    },
    ...more,
  };
  return { sequence, result, sampling: samplings[number % samplings.length]!, ended };
}

const alone = await Promise.all([...Array(12).keys()].map(async (number) => {
  using one = new Generator(model, { slots: 1, length: LENGTH, stops: STOPS });
  const { sequence, result, sampling } = recorded(number);
  await one.run([sequence], sampling);
  return result;
}));

Deno.test("sequences that arrive while others run draw what they draw alone, each in its way", async () => {
  using generator = new Generator(model, { slots: 3, length: LENGTH, stops: STOPS });
  const queue = generator.queue();
  const serving = generator.serve(queue);
  const all = alone.map((_, number) => recorded(number));
  // Some at once, some once others have ended, some after a pause with nothing to do.
  for (const { sequence, sampling } of all.slice(0, 5)) queue.push(sequence, sampling);
  await all[1]!.ended.promise;
  for (const { sequence, sampling } of all.slice(5, 9)) queue.push(sequence, sampling);
  await Promise.all(all.slice(0, 9).map(({ ended }) => ended.promise));
  await new Promise((resolve) => setTimeout(resolve, 30));
  for (const { sequence, sampling } of all.slice(9)) queue.push(sequence, sampling);
  queue.close();
  await serving;
  assertEquals(all.map(({ result }) => result), alone);
});

Deno.test("sequences are begun in the order in which they came", async () => {
  using generator = new Generator(model, { slots: 2, length: LENGTH, stops: [99, 99] });
  const queue = generator.queue();
  const begun: number[] = [];
  for (const number of [5, 3, 8, 1, 0, 9]) {
    const onToken = () => void (begun.includes(number) || begun.push(number));
    const { sequence, sampling } = recorded(number, { onToken });
    queue.push(sequence, sampling);
  }
  queue.close();
  await generator.serve(queue);
  assertEquals(begun, [5, 3, 8, 1, 0, 9]);
});

Deno.test("an aborted sequence frees its slot, is told of nothing more, and changes nobody", async () => {
  using generator = new Generator(model, { slots: 2, length: LENGTH, stops: STOPS });
  const queue = generator.queue();
  // One is aborted by its own third token, one from outside, one while it waits for a slot.
  const controllers = [...Array(3)].map(() => new AbortController());
  const [own, outside, waiting] = controllers.map(({ signal }) => ({ signal })) as [
    Pick<Sequence, "signal">,
    Pick<Sequence, "signal">,
    Pick<Sequence, "signal">,
  ];
  const tokens: number[] = [];
  const long = { limit: LENGTH, prompt: Uint32Array.of(1, 2, 3), stream: 77 };
  const first = recorded(0, {
    ...own,
    ...long,
    onToken: (token) => tokens.push(token) === 3 && controllers[0]!.abort(),
  });
  const second = recorded(1, { ...outside, ...long });
  const third = recorded(2, waiting);
  const rest = [4, 5, 6, 7].map((number) => recorded(number));
  const neverStops = { temperature: 1, topK: 1, topP: 1, seed: 0 };
  queue.push(first.sequence, neverStops);
  queue.push(second.sequence, neverStops);
  queue.push(third.sequence, third.sampling);
  for (const { sequence, sampling } of rest) queue.push(sequence, sampling);
  assertEquals(queue.length, 7);
  controllers[2]!.abort();
  assertEquals(queue.length, 6);
  const serving = generator.serve(queue);
  await rest[0]!.ended.promise;
  controllers[1]!.abort();
  const seen = second.result.tokens.length;
  queue.close();
  await serving;
  assertEquals([tokens.length, second.result.tokens.length], [3, seen]);
  for (const { result } of [first, second, third]) assertEquals(result.turns, []);
  assertEquals(rest.map(({ result }) => result), [4, 5, 6, 7].map((number) => alone[number]));
});

Deno.test("the likeliest tokens are reported to those who ask, and to nobody else", async () => {
  using generator = new Generator(model, { slots: 4, length: LENGTH, stops: STOPS });
  const queue = generator.queue();
  const seen: { token: number; logprob: number; likeliest: readonly TokenLogprob[] }[][] = [];
  for (const [number, likeliest] of [[1, 5], [4, 0], [2, 20]] as const) {
    const own: typeof seen[number] = [];
    seen.push(own);
    const { sequence, sampling } = recorded(number, {
      likeliest,
      onToken: (token, logprob, likeliest) => void own.push({ token, logprob, likeliest }),
    });
    queue.push(sequence, sampling);
  }
  queue.close();
  await generator.serve(queue);
  assertEquals(
    seen.map((own) => own.map(({ token }) => token)),
    [1, 4, 2].map((number) => alone[number]!.tokens),
  );
  for (const { token, logprob, likeliest } of seen[0]!) {
    assertEquals(likeliest.length, 5);
    assertEquals(likeliest[0], { token, logprob }, "greedy takes the likeliest");
  }
  for (const { likeliest } of seen[1]!) assertEquals(likeliest, []);
  for (const { token, logprob, likeliest } of seen[2]!) {
    assertEquals(likeliest.length, 20);
    assert(likeliest.every((each, i) => i === 0 || each.logprob <= likeliest[i - 1]!.logprob));
    assertEquals(
      likeliest.find((each) => each.token === token)?.logprob,
      logprob,
      "top-9 is in 20",
    );
  }
});

Deno.test("a queue refuses what its generator can't generate, and everything once it is closed", () => {
  using generator = new Generator(model, { slots: 1, length: LENGTH, stops: STOPS });
  const queue = generator.queue();
  const { sequence, sampling } = recorded(0);
  for (
    const [wrong, message] of [
      [{ prompt: new Uint32Array(0) }, "a prompt of 0 tokens"],
      [{ limit: LENGTH + 1 }, "up to 48, got 49"],
      [{ likeliest: 21 }, "likeliest is 21, it must be an integer from 0 to 20"],
    ] as const
  ) {
    assertThrows(() => queue.push({ ...sequence, ...wrong }, sampling), RangeError, message);
  }
  assertThrows(() => queue.push(sequence, { ...sampling, topP: 0 }), RangeError, "topP");
  assertEquals(queue.length, 0);
  queue.close();
  assertThrows(() => queue.push(sequence, sampling), TypeError, "the queue is closed");
});

Deno.test("a request to the same process is answered while sequences run", async () => {
  using generator = new Generator(model, { slots: 2, length: LENGTH, stops: STOPS });
  await using server = Deno.serve({ port: 0, onListen() {} }, () => new Response("here"));
  const queue = generator.queue();
  let [answered, begun] = [false, 0];
  const push = () => {
    const { sequence, sampling } = recorded(begun++ % 12, {
      onTurn() {
        if (answered || begun === 100) queue.close();
        else push();
        return null;
      },
    });
    queue.push(sequence, sampling);
  };
  push();
  const asking = fetch(`http://localhost:${(server.addr as Deno.NetAddr).port}`)
    .then((response) => response.text()).then(() => answered = true);
  await generator.serve(queue);
  assert(answered, `not within ${begun} sequences`);
  await asking;
});
