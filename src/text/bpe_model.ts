/**
 * The `model` of a `tokenizer.json` that is a BPE.
 *
 * @module
 */

/** Every field that the format has, as it is where `parts` do not say otherwise. */
export function bpeModel(parts: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    ...parts,
  };
}
