/**
 * The model that every contender loads, and the tokens that it is trained on.
 *
 * @module
 */

import { Gpu } from "../../src/gpu/device.ts";
import { type DecoderConfig, llamaConfig } from "../../src/model/config.ts";
import { Decoder } from "../../src/model/decoder.ts";
import { Random } from "../../src/random.ts";
import { stepSizes } from "./protocol.ts";

/**
 * A Llama of 3.5 M parameters: 4 layers of width 256. The width of the MLP is 8/3 of that, rounded
 * up, so that it has as many parameters as the ungated MLP of 4 times the width.
 */
export const modelConfig: DecoderConfig = llamaConfig({
  vocabSize: 512,
  hiddenSize: 256,
  intermediateSize: 704,
  layers: 4,
  heads: 4,
  kvHeads: 4,
  headDim: 64,
  maxPositions: 256,
  ropeTheta: 10000,
  normEpsilon: 1e-5,
  tiedEmbeddings: false,
});

/**
 * Writes config.json, model.safetensors and tokens.json into `folder`; the same in every run.
 *
 * @throws {GpuUnavailableError} if no adapter answers.
 */
export async function writeModelFolder(folder: string): Promise<void> {
  using gpu = await Gpu.open();
  using model = Decoder.create(gpu, modelConfig, { seed: 1 });
  const files = await model.files();
  const random = new Random("peers/tokens");
  const { batch, length } = stepSizes;
  const rows = Array.from(
    { length: batch },
    () => Array.from({ length: length + 1 }, () => random.int(0, modelConfig.vocabSize - 1)),
  );
  const tokens = {
    inputs: rows.map((row) => row.slice(0, -1)),
    targets: rows.map((row) => row.slice(1)),
  };
  await Deno.writeTextFile(`${folder}/config.json`, files["config.json"]);
  await Deno.writeFile(`${folder}/model.safetensors`, files["model.safetensors"]);
  await Deno.writeTextFile(`${folder}/tokens.json`, JSON.stringify(tokens));
}
