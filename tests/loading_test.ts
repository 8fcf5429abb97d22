// What loading and saving a model must not get wrong, whatever its files say.

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { Gpu } from "../src/gpu/device.ts";
import { disk } from "../src/io/disk.ts";
import { useFolder } from "../src/io/folder.ts";
import { saveFolder } from "../src/io/checkpoint.ts";
import { Decoder } from "../src/model/decoder.ts";
import { fromHuggingFace, toHuggingFace } from "../src/model/families.ts";
import { Generator } from "../src/model/generator.ts";
import { Chat } from "../src/run/chat.ts";
import { exportModel } from "../src/run/export.ts";
import { openAuxiliaries } from "../src/run/auxiliary.ts";
import { loadStudent } from "../src/run/student.ts";
import { resolveConfig } from "../src/run/config/mod.ts";
import { train } from "../src/run/train.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { calculator } from "../src/tools/calculator.ts";
import { tool } from "../src/tools/tool.ts";
import { tiny } from "./models.ts";

useFolder(disk);
const gpu = await Gpu.open();
const folder = await Deno.makeTempDir();
Deno.test.afterAll(() => {
  gpu.close();
  Deno.removeSync(folder, { recursive: true });
});

const golden = (name: string) => fromFileUrl(new URL(`./golden/families/${name}`, import.meta.url));

Deno.test("a saved config.json names one type, that of the weights beside it", async () => {
  // Transformers 5 wrote it with `dtype`, which it reads before `torch_dtype`.
  using model = await Decoder.load(gpu, golden("qwen3"), { frozen: true });
  const json = JSON.parse((await model.files("BF16"))["config.json"]);
  assertEquals([json.dtype, json.torch_dtype], [undefined, "bfloat16"]);
});

Deno.test("a shorter context makes shorter tables, but not of positions that are learned", async () => {
  using rotary = await Decoder.load(gpu, golden("llama3"), { context: 16 });
  assertEquals(rotary.config.maxPositions, 16);
  using learned = await Decoder.load(gpu, golden("gpt2"), { context: 16 });
  assertEquals(learned.config.maxPositions, 128);
});

Deno.test("numbers that can't be right are refused by name", () => {
  const llama = toHuggingFace(tiny);
  const gemma = JSON.parse(Deno.readTextFileSync(join(golden("gemma3_text"), "config.json")));
  const refused: [Record<string, unknown>, Record<string, unknown>, string][] = [
    [llama, { rope_theta: -1 }, "ropeTheta is -1"],
    [llama, { rms_norm_eps: 0 }, "normEpsilon is 0"],
    [llama, { rope_scaling: "linear" }, '"rope_scaling" is "linear"'],
    [llama, { rope_parameters: 5 }, '"rope_parameters" is 5'],
    [llama, { rope_scaling: { rope_type: "linear", factor: 0 } }, '"rope_scaling.factor" is 0'],
    [llama, { tie_word_embeddings: "true" }, '"tie_word_embeddings" is "true"'],
    [
      llama,
      { rope_scaling: { rope_type: "longrope", short_factor: [1], long_factor: [1] } },
      "has 1 numbers for 4 rotated pairs",
    ],
    [gemma, { query_pre_attn_scalar: 0 }, "attentionScale is null"],
    [gemma, { final_logit_softcapping: "30" }, 'logitCap is "30"'],
    [gemma, { sliding_window: 0 }, "a window is 0 tokens"],
    [gemma, { layer_types: "sliding_attention" }, '"layer_types" is "sliding_attention"'],
    [gemma, { layer_types: null, sliding_window_pattern: "6" }, '"sliding_window_pattern" is "6"'],
  ];
  for (const [json, change, message] of refused) {
    const error = assertThrows(() => fromHuggingFace({ ...json, ...change })) as Error;
    assertStringIncludes(error.message, message);
  }
});

Deno.test("layers that differ are written so that Transformers 4 scales them, too", () => {
  const json = JSON.parse(Deno.readTextFileSync(join(golden("gemma3_text"), "config.json")));
  const written = toHuggingFace(fromHuggingFace(json));
  assertEquals(written["rope_scaling"], { rope_type: "linear", factor: 2 });
  assertEquals([written["rope_theta"], written["rope_local_base_freq"]], [1000, 50]);
});

Deno.test("no more steps are run than there is room for", async () => {
  using own = await Gpu.open();
  using model = Decoder.create(own, tiny);
  let steps = 0;
  const dispatch = own.dispatch.bind(own);
  own.dispatch = (name, entry, work) => {
    if (name === "sample" && entry === "next") steps++;
    dispatch(name, entry, work);
  };
  using generator = new Generator(model, { slots: 2, length: 40, stops: [98, 99] });
  for (const tokens of [1, 17]) {
    steps = 0;
    const found: number[] = [];
    const prompt = Uint32Array.of(3, 5, 7);
    const onTurn = (turn: { tokens: readonly number[] }) => (found.push(...turn.tokens), null);
    await generator.run([{ prompt, stream: 0, limit: 3 + tokens, onTurn }], {
      ...{ temperature: 0, topK: 0, topP: 1, seed: 0 },
    });
    assertEquals([found.length, steps], [tokens, tokens]);
  }
});

/** A model with a tokenizer that has a control token beyond the vocabulary, and no chat template. */
async function untalkative(): Promise<string> {
  const path = join(folder, "untalkative");
  const { tokenizer, config } = Tokenizer.bytes().toJSON();
  const json = JSON.parse(tokenizer);
  json.added_tokens = [{ ...json.added_tokens[0], id: 256, content: "<|image|>" }];
  using model = Decoder.create(gpu, { ...tiny, vocabSize: 256 });
  await saveFolder(path, {
    ...await model.files(),
    "tokenizer.json": JSON.stringify(json),
    "tokenizer_config.json": JSON.stringify({ ...JSON.parse(config), chat_template: "" }),
    "generation_config.json": '{"eos_token_id": [1, 106]}',
  });
  return path;
}

Deno.test("a control token beyond the vocabulary is no fault of the model's", () => {
  const { tokenizer, config } = Tokenizer.bytes().toJSON();
  const json = JSON.parse(tokenizer);
  json.added_tokens = [{ ...json.added_tokens[0], id: 256, content: "<|image|>" }];
  const loaded = Tokenizer.fromJSON(JSON.stringify(json), config);
  assertEquals([loaded.textSize, loaded.vocabSize], [256, 257]);
});

Deno.test("a model that can't chat is exported all the same, with what says where it stops", async () => {
  const out = join(folder, "exported");
  await exportModel({ from: await untalkative(), out });
  const text = await Deno.readTextFile(join(out, "generation_config.json"));
  assertEquals(JSON.parse(text), { eos_token_id: [1, 106] });
});

Deno.test("what a run stays close to is the adapter that it began with", async () => {
  const settings = {
    ...{ from: "assets/base-nano", steps: 1, warmupSft: 1, lora: { rank: 4 } },
    ...{ rollout: { prompts: 1, group: 2, slots: 2 }, grpo: { miniBatches: 1 } },
    evaluation: { prompts: 0 },
  };
  const { model: from } = await train({ ...settings, out: join(folder, "run") });
  using student = await loadStudent(gpu, from, { train: true });
  const config = resolveConfig({ flags: { from, grpo: { klCoef: 0.1 } } });
  using auxiliaries = await openAuxiliaries(gpu, student, config, {
    maxTokens: 64,
    checkpoint: null,
  });
  const ids = Uint32Array.of(256, 51, 52, 257);
  const start = await student.model.logits(ids);
  assertEquals(await auxiliaries.reference!.logits(ids), start);
  const { base } = student.model;
  assert((await base.logits(ids)).some((logit, i) => logit !== start[i]), "adapters do nothing");
});

Deno.test("a conversation runs no more calls than it may, and says so", async () => {
  using student = await loadStudent(gpu, "assets/base-nano");
  const shown: string[] = [];
  const say = async (maxCalls: number) => {
    shown.length = 0;
    using chat = new Chat(student, calculator().all, {
      ...{ temperature: 0, topK: 0, topP: 1, seed: 0 },
      ...{ maxTokens: 128, maxCalls, write: (text) => shown.push(text) },
    });
    await chat.ask("34 plus 8 times 3");
    return shown.join("");
  };
  assertStringIncludes(await say(6), " -> ");
  const none = await say(0);
  assertStringIncludes(none, "more than rollout.maxCalls = 0");
  assertEquals(none.includes(" -> "), false);
});

Deno.test("a conversation is one episode to its tools until it is forgotten", async () => {
  using student = await loadStudent(gpu, "assets/base-nano");
  const episodes: unknown[] = [];
  const tools = calculator().all.map((one) =>
    tool({
      ...one,
      execute: (args, context) => {
        episodes.push(context.episode);
        return one.execute(args, context);
      },
    })
  );
  using chat = new Chat(student, tools, {
    ...{ temperature: 0, topK: 0, topP: 1, seed: 0, maxTokens: 256, maxCalls: 6, write: () => {} },
  });
  const ask = async () => {
    const before = episodes.length;
    await chat.ask("34 plus 8 times 3");
    assert(episodes.length > before, "no tool was called");
    return new Set(episodes.slice(before));
  };
  const first = await ask();
  assertEquals(first.size, 1);
  chat.clear();
  const second = await ask();
  assertEquals(second.size, 1);
  assert(!first.has([...second][0]) && [...first][0] !== undefined);
});
