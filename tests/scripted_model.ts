// A served model whose turns are written beforehand: what a model says and calls is exact, then.

import type { Sequence } from "../src/model/generator.ts";
import { SequenceQueue } from "../src/model/sequence.ts";
import type { ServedModel } from "../src/serve/openai/mod.ts";
import type { ChatFormat } from "../src/text/chat_template.ts";
import type { Tokenizer } from "../src/text/tokenizer.ts";

/** A model that says what it is told to. */
export interface ScriptedModel extends ServedModel {
  /** Sequences that are under way. */
  readonly running: Set<Sequence>;
}

/**
 * Makes one.
 *
 * @param turn the tokens of a turn, by the text of the prompt; a turn without a stop token goes on
 * for ever with the last of them
 */
export function scriptedModel(
  { tokenizer, chat, length }: { tokenizer: Tokenizer; chat: ChatFormat; length: number },
  turn: (prompt: string) => Iterable<number>,
): ScriptedModel {
  const running = new Set<Sequence>();
  const write = async (sequence: Sequence) => {
    running.add(sequence);
    const script = [...turn(tokenizer.decode(sequence.prompt))];
    const tokens: number[] = [];
    for (let i = 0;; i++) {
      const token = script[Math.min(i, script.length - 1)]!;
      await new Promise((resolve) => setTimeout(resolve, i % 8 === 0 ? 1 : 0));
      if (sequence.signal?.aborted) break;
      tokens.push(token);
      const likeliest = [{ token, logprob: -0.5 }, { token: 0, logprob: -1 }];
      sequence.onToken?.(token, -0.5, likeliest.slice(0, sequence.likeliest ?? 0));
      if (sequence.signal?.aborted) break;
      const stopped = chat.stops.includes(token);
      if (!stopped && sequence.prompt.length + tokens.length < sequence.limit) continue;
      const logprobs = tokens.map(() => -0.5);
      await sequence.onTurn({ tokens, logprobs, reason: stopped ? "stop" : "length" });
      break;
    }
    running.delete(sequence);
  };
  return {
    ...{ tokenizer, chat, length, running },
    vocabSize: tokenizer.vocabSize,
    generator: {
      queue: () => new SequenceQueue(() => {}),
      async serve(queue) {
        const all: Promise<void>[] = [];
        while (!queue.closed || queue.length > 0) {
          await queue.arrival;
          for (const { sequence } of queue.take(queue.length)) all.push(write(sequence));
        }
        await Promise.all(all);
      },
    },
    [Symbol.dispose]() {},
  };
}
