// Groups of episodes: which are kept, and which turn a token and a prefix belong to.

import { assertEquals } from "@std/assert";
import type { Generator, Sequence } from "../src/model/generator.ts";
import type { Episode } from "../src/rl/episode.ts";
import { collect, turnOfTokens, turnPotentials } from "../src/rl/experience.ts";
import { rewardOf } from "../src/rl/reward.ts";
import type { Task } from "../src/tasks/task.ts";
import { compactChat } from "../src/text/chat_template.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { chain, episode, look, mul } from "./episodes.ts";
import { question, rolloutOf } from "./rollouts.ts";

Deno.test("turns are what tools' results divide", () => {
  assertEquals([...turnOfTokens(Uint8Array.of(0, 0, 1, 1, 0, 0, 1, 0, 1, 1))], [
    ...[-1, -1, 0, 0, -1, -1, 1, -1, 2, 2],
  ]);
  assertEquals([...turnOfTokens(Uint8Array.of(0, 0))], [-1, -1]);
});

Deno.test("a potential sees what was done up to each turn, and all of it in the last", () => {
  const seen: Episode[] = [];
  const whole = episode([look, mul]);
  const task = { ...question, reference: chain };
  const potentials = turnPotentials(
    rolloutOf(1, { task, episode: whole }),
    (prefix, reference, context) => {
      seen.push(prefix);
      assertEquals([reference, context.progress, context.task], [chain, 0.5, task]);
      return prefix.attempts.length / 2;
    },
    0.5,
  );
  assertEquals(potentials, [0.5, 1, 1]);
  const shown = seen.map(({ attempts, turns, answer, correct, finished }) => ({
    attempts: attempts.map(({ name }) => name),
    turns: turns.length,
    ...{ answer, correct, finished },
  }));
  const open = { answer: null, correct: false, finished: false };
  assertEquals(shown, [
    { attempts: ["look"], turns: 1, ...open },
    { attempts: ["look", "mul"], turns: 2, ...open },
    { attempts: ["look", "mul"], turns: 3, answer: "68", correct: true, finished: true },
  ]);
});

const tokenizer = Tokenizer.bytes();
const chat = compactChat(tokenizer);

/** A model that answers 0 to the first sample and, unless the prompt is "same", 1 to the others. */
const generator = {
  async run(sequences: readonly Sequence[]) {
    for (const [i, { prompt, onTurn }] of sequences.entries()) {
      const same = tokenizer.decode(prompt, { skipSpecial: false }).includes("same");
      const digit = same || i % 2 === 0 ? "0" : "1";
      const tokens = [
        tokenizer.token("<|answer|>"),
        ...tokenizer.encode(digit),
        tokenizer.token("<|end|>"),
      ];
      await onTurn({ tokens, logprobs: tokens.map(() => -1), reason: "stop" });
    }
  },
} as unknown as Generator;

/** Collects two groups of two out of these prompts; says what was drawn, kept and sampled. */
async function gather(prompts: string[], resampleDead: number) {
  const draws: number[] = [];
  const left = prompts.map((prompt): Task => ({ ...question, id: prompt, prompt }));
  const groups = await collect(
    {
      generator,
      chat,
      reward: { score: ({ answer }) => rewardOf({ correctness: Number(answer) }) },
      draw(count) {
        draws.push(count);
        return left.splice(0, count);
      },
    },
    2,
    { temperature: 1, topK: 0, topP: 1, seed: 0, maxTokens: 40, maxCalls: 1, stream: "test" },
    { group: 2, resampleDead },
    0,
  );
  const kept = groups.map((group) => group[0]!.task.id);
  return { draws, kept, totals: groups.map((group) => group.map(({ reward }) => reward.total)) };
}

Deno.test("groups whose rewards are all equal make room for fresh prompts", async () => {
  assertEquals(await gather(["same 1", "b", "same 2", "d"], 2), {
    draws: [2, 1, 1],
    kept: ["b", "d"],
    totals: [[0, 1], [0, 1]],
  });
});

Deno.test("in the last round they are kept, so that a step never lacks groups", async () => {
  assertEquals(await gather(["same 1", "same 2", "same 3", "d"], 1), {
    draws: [2, 2],
    kept: ["same 3", "d"],
    totals: [[0, 0], [0, 1]],
  });
  assertEquals((await gather(["same 1", "b"], 0)).kept, ["same 1", "b"]);
});
