/**
 * Writes models and adapters as Mentor exports them, each with its own logits beside it, for
 * `tests/golden/check_export.py` to load elsewhere: `deno run -A tests/write_exports.ts FOLDER`.
 *
 *     models/<family>        a model made from tensors; its config.json is made from what is known of it
 *     loaded/<family>        one that was loaded from a folder; its config.json is that folder's
 *     bf16/<family>          saved in half precision
 *     merged/<adapters>      PEFT's goldens, merged into their base
 *     adapters/<adapters>    PEFT's goldens, beside their base, one of `models/`
 *     adapters/<family>-all  random adapters on all linear layers of a family
 *
 * @module
 */

import { join } from "@std/path";
import { Gpu } from "../src/gpu/device.ts";
import { disk } from "../src/io/disk.ts";
import { useFolder } from "../src/io/folder.ts";
import { decodeSafetensors, encodeSafetensors, fromFloat32 } from "../src/io/safetensors.ts";
import { Decoder } from "../src/model/decoder.ts";
import { defaultLora } from "../src/model/lora.ts";
import { adaptedGolden, familyGolden, loraGolden, loraGoldens, scramble } from "./adapters.ts";

const families = ["gemma3_text", "gpt2", "llama3", "llama_biased", "qwen2", "qwen3"];

/** Writes files, the tokens, and the logits that a model gives for them. */
async function write(
  directory: string,
  files: object,
  model: Decoder,
  ids: Uint32Array,
): Promise<void> {
  await Deno.mkdir(directory, { recursive: true });
  const shape = [ids.length, model.config.vocabSize];
  const data = fromFloat32(await model.logits(ids), "F32");
  const logits = encodeSafetensors(new Map([["logits", { dtype: "F32", shape, data }]]));
  const expected = {
    "expected.json": `${JSON.stringify({ ids: [...ids] })}\n`,
    "expected.safetensors": logits,
  };
  for (const [name, content] of Object.entries({ ...files, ...expected })) {
    if (typeof content === "string") await Deno.writeTextFile(join(directory, name), content);
    else await Deno.writeFile(join(directory, name), content);
  }
}

async function writeAll(gpu: Gpu, root: string): Promise<void> {
  for (const name of families) {
    const { config, weights, ids } = familyGolden(name);
    const adapter = join(root, "adapters", `${name}-all`);
    using model = Decoder.fromTensors(gpu, config, weights, { frozen: true });
    await write(join(root, "models", name), await model.files(), model, ids);
    const half = await model.files("BF16");
    const { tensors } = decodeSafetensors(half["model.safetensors"]);
    using rounded = Decoder.fromTensors(gpu, config, tensors);
    await write(join(root, "bf16", name), half, rounded, ids);
    const adapters = model.adapt({ ...defaultLora, rank: 3, dropout: 0.1, rankStabilised: true });
    scramble(adapters);
    await write(adapter, await adapters.files(`../../models/${name}`), model, ids);
    using loaded = await Decoder.load(gpu, join(import.meta.dirname!, "golden/families", name));
    await write(join(root, "loaded", name), await loaded.files(), loaded, ids);
  }
  for (const name of loraGoldens) {
    const { ids } = loraGolden(name);
    using model = adaptedGolden(gpu, name);
    await write(join(root, "merged", name), await model.files(), model, ids);
    const files = await model.adapters!.files(`../../models/${name}`);
    await write(join(root, "adapters", name), files, model, ids);
  }
}

const [root] = Deno.args;
if (root === undefined) {
  console.error(
    "Cannot write exports: name a folder, as in deno run -A tests/write_exports.ts exports",
  );
  Deno.exit(2);
}
useFolder(disk);
using gpu = await Gpu.open();
await writeAll(gpu, root);
