/**
 * Mentor as a reader of real checkpoints.
 *
 *     deno run -A bench/peers/mentor_speech.ts FILE CONTEXT THREADS
 *
 * @module
 */

import { Gpu } from "../../src/gpu/device.ts";
import { disk } from "../../src/io/disk.ts";
import { fileSource } from "../../src/io/file_source.ts";
import { useFolder } from "../../src/io/folder.ts";
import { openGguf } from "../../src/io/gguf.ts";
import { Decoder } from "../../src/model/decoder.ts";
import { generate } from "../../src/model/generate.ts";
import { tokenStatistics } from "../../src/model/nll.ts";
import { selectRows } from "../../src/ops/select.ts";
import { Tape } from "../../src/tape.ts";
import { ggufTokenizer } from "../../src/text/gguf_tokenizer.ts";
import { Tokenizer } from "../../src/text/tokenizer.ts";
import { serveSpeaker, type Speaker } from "./speech.ts";

/**
 * Loads a GGUF file, its weights frozen in bfloat16.
 *
 * @param context longest sequence, in tokens
 * @throws {CheckpointError} if the file can't be read.
 */
export async function mentorSpeaker(
  gpu: Gpu,
  file: string,
  context: number,
): Promise<Speaker & Disposable> {
  useFolder(disk);
  const { tokenizer, bos } = await readTokenizer(file);
  const model = await Decoder.load(gpu, file, { frozen: true, dtype: "bf16", context });
  return {
    library: `Mentor, bf16 on ${gpu.info.description}`,
    encode: (text) => [...bos, ...tokenizer.encode(text)],
    async score(ids) {
      const targets = Uint32Array.from({ length: ids.length - 1 }, (_, i) => i + 1);
      const batch = { ids: Uint32Array.from(ids), lengths: [ids.length], targets };
      const { logprob } = tokenStatistics(new Tape(gpu, { recording: false }), model, batch);
      return Array.from(await readFloats(gpu, logprob), (value) => -value);
    },
    async proceed(ids, count) {
      const options = { maxTokens: count, temperature: 0 };
      const [out] = await generate(model, tokenizer, [Uint32Array.from(ids)], options);
      return [...out!.tokens];
    },
    async logProbabilities(ids, tokens) {
      const tape = new Tape(gpu, { recording: false });
      const hidden = model.packed(tape, Uint32Array.from(ids), [ids.length]);
      const last = selectRows(tape, hidden, Uint32Array.of(ids.length - 1));
      const logits = await readFloats(gpu, model.project(tape, last));
      const largest = logits.reduce((a, b) => Math.max(a, b));
      const sum = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
      return tokens.map((token) => logits[token]! - largest - Math.log(sum));
    },
    [Symbol.dispose]: () => model[Symbol.dispose](),
  };
}

/** Reads a tensor of the current step, and ends the step. */
async function readFloats(gpu: Gpu, tensor: Parameters<Gpu["read"]>[0]): Promise<Float32Array> {
  const reading = gpu.read(tensor);
  gpu.endStep();
  const [bytes] = await reading;
  return new Float32Array(bytes!);
}

/** The file's tokenizer, and the token that it wants in front of every text, if any. */
async function readTokenizer(file: string): Promise<{ tokenizer: Tokenizer; bos: number[] }> {
  using gguf = await openGguf(await fileSource(file));
  const { tokenizer: json, config } = ggufTokenizer(gguf.metadata);
  const tokenizer = Tokenizer.fromJSON(JSON.stringify(json), JSON.stringify(config));
  const bos = config["add_bos_token"] ? [tokenizer.token(String(config["bos_token"]))] : [];
  return { tokenizer, bos };
}

if (import.meta.main) {
  await serveSpeaker(async ({ file, context }) =>
    await mentorSpeaker(await Gpu.open(), file, context)
  );
}
