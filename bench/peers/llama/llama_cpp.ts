/**
 * llama.cpp as a reader of real checkpoints, on the CPU, as node-llama-cpp ships it.
 *
 *     deno run -A --config bench/peers/llama/deno.json bench/peers/llama/llama_cpp.ts FILE CONTEXT THREADS
 *
 * It keeps keys and values in f16, and quantises activations to 8 bits for its products with
 * quantised weights; both are its defaults. The overrides in package.json put the CPU's binary in
 * the place of those for CUDA and Vulkan, which would be hundreds of megabytes more to download.
 *
 * @module
 */

import { getLlama, LlamaLogLevel, type Token } from "node-llama-cpp";
import { serveSpeaker, type Speaker, type SpeakerOptions } from "../speech.ts";

/** Tokens that are computed together at most; llama.cpp's own default. */
const BATCH = 512;
/**
 * Tokens of a text whose following probabilities are asked for at a time: they come as a map of the
 * whole vocabulary each, which for Gemma is some ten megabytes.
 */
const ASKED_TOGETHER = 16;

type Probabilities = ReadonlyMap<Token, number>;

/** Loads a GGUF file. */
async function llamaSpeaker({ file, context, threads }: SpeakerOptions): Promise<Speaker> {
  const llama = await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    maxThreads: threads,
    logLevel: LlamaLogLevel.error,
  });
  const model = await llama.loadModel({ modelPath: file });
  const { tokens: special } = model;
  const bos = special.shouldPrependBosToken && special.bos !== null ? [special.bos] : [];
  const sequence = (await model.createContext({ contextSize: context, threads, batchSize: BATCH }))
    .getSequence();
  const generateNext = { probabilities: true };
  return {
    library: `llama.cpp ${llama.llamaCppRelease.release} of node-llama-cpp`,
    encode: (text) => [...bos, ...model.tokenize(text)],
    async score(ids) {
      await sequence.clearHistory();
      const nll: number[] = [];
      const inputs = ids.slice(0, -1) as Token[];
      while (nll.length < inputs.length) {
        const some = inputs.slice(nll.length, nll.length + ASKED_TOGETHER);
        const outputs = await sequence.controlledEvaluate(
          some.map((token) => [token, { generateNext }]),
        );
        for (const output of outputs) {
          nll.push(-logProbabilities(output!.next.probabilities!, [ids[nll.length + 1]!])[0]!);
        }
      }
      return nll;
    },
    async proceed(ids, count) {
      await sequence.clearHistory();
      const options = { temperature: 0, yieldEogToken: true };
      const found: number[] = [];
      for await (const token of sequence.evaluate([...ids] as Token[], options)) {
        found.push(token);
        if (found.length === count) break;
      }
      return found;
    },
    async logProbabilities(ids, tokens) {
      await sequence.clearHistory();
      const before = ids.slice(0, -1) as Token[];
      const outputs = await sequence.controlledEvaluate([
        ...before,
        [ids.at(-1) as Token, { generateNext }],
      ]);
      return logProbabilities(outputs.at(-1)!.next.probabilities!, tokens);
    },
  };
}

/** Divided by their sum, since softmax in single precision leaves it off 1 by up to 1e-4. */
function logProbabilities(probabilities: Probabilities, tokens: readonly number[]): number[] {
  const sum = probabilities.values().reduce((a, b) => a + b, 0);
  return tokens.map((token) => Math.log(probabilities.get(token as Token)! / sum));
}

await serveSpeaker(llamaSpeaker);
