// Every family of models against Transformers: see tests/golden/make_family_goldens.py.

import { assert, assertEquals } from "@std/assert";
import { Gpu } from "../src/gpu/device.ts";
import { decodeSafetensors, toFloat32 } from "../src/io/safetensors.ts";
import { configText } from "../src/model/config_text.ts";
import { Decoder } from "../src/model/decoder.ts";
import { fromHuggingFace, toHuggingFace } from "../src/model/families.ts";
import { Generator } from "../src/model/generator.ts";
import { nllGradients } from "../src/model/nll.ts";
import { tensorShapes } from "../src/model/parameters.ts";
import { assertClose } from "./models.ts";

const gpu = await Gpu.open();
Deno.test.afterAll(() => gpu.close());

function golden(name: string) {
  const folder = new URL(`./golden/families/${name}/`, import.meta.url);
  const json = (file: string) => JSON.parse(Deno.readTextFileSync(new URL(file, folder)));
  const tensors = (file: string) =>
    decodeSafetensors(Deno.readFileSync(new URL(file, folder)), file).tensors;
  return {
    json: json("config.json"),
    config: fromHuggingFace(json("config.json")),
    weights: tensors("model.safetensors"),
    expected: tensors("expected.safetensors"),
    ...json("expected.json") as { ids: number[]; loss: number; greedy: number[] },
  };
}

const names = [...Deno.readDirSync(new URL("./golden/families/", import.meta.url))]
  .map(({ name }) => name).sort();

Deno.test("there is a golden of every family and every way to stretch rotary embeddings", () => {
  assertEquals(names, ["gemma3_text", "gpt2", "llama3", "llama_biased", "qwen2", "qwen3"]);
  const kinds = names.map((name) => golden(name).config.rope?.scaling.kind);
  assertEquals(kinds, ["linear", undefined, "llama3", "linear", "yarn", "default"]);
});

Deno.test("config.json has floats where Transformers asks for them, and is the same JSON", () => {
  const { json } = golden("gemma3_text");
  const text = configText(json);
  for (const line of ['"final_logit_softcapping": 6.0,', '"sliding_window": 5,', '"factor": 2.0']) {
    assert(text.includes(line), text);
  }
  for (const name of names) {
    const { json } = golden(name);
    assertEquals(JSON.parse(configText(json)), json);
  }
  const odd = {
    rope_theta: 1e21,
    factor: 0.5,
    beta_fast: -3,
    note: 'a\n"factor": 3',
    factors: [1],
  };
  assertEquals(JSON.parse(configText(odd)), odd);
  assert(configText(odd).includes('"beta_fast": -3.0,'));
});

for (const name of names) {
  Deno.test(`${name}: logits, loss and every gradient agree with Transformers`, async () => {
    const { config, weights, expected, ids, loss } = golden(name);
    using model = Decoder.fromTensors(gpu, config, weights);
    const logits = await model.logits(Uint32Array.from(ids));
    assertClose(logits, toFloat32(expected.get("logits")!), 1e-4, "logits");
    const actual = await nllGradients(model, Uint32Array.from(ids));
    assert(Math.abs(actual.loss - loss) < 1e-5 * loss, `loss ${actual.loss}, expected ${loss}`);
    assertEquals([...actual.gradients.keys()], [...tensorShapes(config).keys()]);
    for (const [tensor, gradient] of actual.gradients) {
      const stored = expected.get(`gradients.${tensor}`);
      assert(stored, `no golden for the gradient of ${tensor}`);
      assertClose(gradient, toFloat32(stored), 1e-3, `gradient of ${tensor}`);
    }
  });

  Deno.test(`${name}: 64 tokens follow greedily as in Transformers, fed at once or in pieces`, async () => {
    const { config, weights, ids, greedy } = golden(name);
    using model = Decoder.fromTensors(gpu, config, weights);
    const none = 0xfffffffe;
    using generator = new Generator(model, { slots: 2, length: 128, stops: [none, none] });
    const found: number[][] = [];
    // The second sequence is known up to half of the continuation.
    const prompts = [ids, [...ids, ...greedy.slice(0, 32)]];
    await generator.run(
      prompts.map((prompt, stream) => ({
        prompt: Uint32Array.from(prompt),
        stream,
        limit: ids.length + greedy.length,
        onTurn({ tokens }) {
          found[stream] = [...tokens];
          return null;
        },
      })),
      { temperature: 0, topK: 0, topP: 1, seed: 0 },
    );
    assertEquals(found, [greedy, greedy.slice(32)]);
  });

  Deno.test(`${name}: saves what it loaded, to the bit and to a config of the same maths`, async () => {
    const { config, weights } = golden(name);
    using model = Decoder.fromTensors(gpu, config, weights);
    const files = await model.files();
    const { tensors } = decodeSafetensors(files["model.safetensors"]);
    assertEquals([...tensors.keys()].sort(), [...tensorShapes(config).keys()].sort());
    for (const [name, tensor] of tensors) {
      assertEquals(toFloat32(tensor), toFloat32(weights.get(name)!), name);
    }
    assertEquals(fromHuggingFace(JSON.parse(files["config.json"])), config);
    assertEquals(fromHuggingFace(toHuggingFace(config)), config);
  });
}
