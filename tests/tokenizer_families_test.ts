// The tokenizers of real models, against the ids that the Rust library gives (through Python).

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { families, type Family, familyTokenizer, textGolden } from "./families.ts";

type Row = [plain: number[], special: number[] | 0, decoded: string | 0];

const texts: string[] = JSON.parse(textGolden("strings.json"));
const goldens = (family: Family): Row[] => JSON.parse(textGolden(`tokens_${family}.json`));

for (const family of Object.keys(families) as Family[]) {
  Deno.test(`${family}: ids and texts are the reference's on every hard string`, async () => {
    const tokenizer = await familyTokenizer(family);
    const rows = goldens(family);
    assert(rows.length === texts.length && rows.length >= 300);
    const wrong: unknown[] = [];
    const compare = (what: string, text: string, got: unknown, expected: unknown) => {
      if (JSON.stringify(got) !== JSON.stringify(expected)) {
        wrong.push({ what, text, got, expected });
      }
    };
    for (const [i, [plain, special, decoded]] of rows.entries()) {
      const text = texts[i]!;
      const meant = special || plain;
      compare("plain", text, [...tokenizer.encode(text)], plain);
      compare("special", text, [...tokenizer.encodeTemplate(text)], meant);
      compare("decoded", text, tokenizer.decode(meant), decoded || text.toWellFormed());
      // What was escaped is text, beside control tokens as well as alone.
      compare("escaped", text, [...tokenizer.encodeTemplate(tokenizer.escape(text))], plain);
    }
    assertEquals(wrong, []);
  });

  Deno.test(`${family}: pieces of a stream are whole characters, and join to the text`, async () => {
    const tokenizer = await familyTokenizer(family);
    for (const [plain, special] of goldens(family)) {
      const ids = special || plain;
      const stream = tokenizer.decodeStream();
      const pieces = [...ids.map((id) => stream.push(id)), stream.end()];
      assertEquals(pieces.join(""), tokenizer.decode(ids));
      for (const piece of pieces) assert(piece.isWellFormed());
    }
    // An emoji in several tokens comes out whole.
    const stream = tokenizer.decodeStream();
    const pieces = [...tokenizer.encode("a\u{1fae8}b")].map((id) => stream.push(id));
    assertEquals(pieces.filter((piece) => piece !== ""), ["a", "\u{1fae8}", "b"]);
  });
}

Deno.test("what a model lacks is named, and so is what it has", async () => {
  const llama = await familyTokenizer("llama3");
  const error = assertThrows(() => llama.token("<|im_end|>"), RangeError, '"<|im_end|>"');
  assert(error.message.includes("<|begin_of_text|>"), error.message);
  assert(error.message.includes("more. Check that the tokenizer belongs to the model"));
  assert(error.message.length < 600, "a vocabulary with 256 control tokens is not listed whole");
  assertEquals(llama.namedToken("bos_token"), "<|begin_of_text|>");
  assertEquals(Tokenizer.bytes().namedToken("bos_token"), null);
  assertEquals(Tokenizer.bytes().chatTemplate, null);
});

Deno.test("strings that are common in text are no control tokens, those of the template are", async () => {
  const gemma = await familyTokenizer("gemma3");
  for (const name of ["<h1>", "\n\n", "<unused7>"]) {
    assertEquals(gemma.encode(name).length, 1);
    assertEquals(gemma.hasToken(name), false);
  }
  const qwen = await familyTokenizer("qwen3");
  for (const name of ["<tool_call>", "<think>", "<|im_end|>", "<|fim_prefix|>"]) {
    assert(qwen.encode(name).length > 1);
    assert(qwen.isControl(qwen.token(name)));
  }
});
