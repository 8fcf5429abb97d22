/**
 * `config.json` as Transformers reads it.
 *
 * @module
 */

/**
 * Numbers that Transformers wants as Python floats: it refuses a config that says 30 where it means
 * 30.0, or warns. They are the same number in JavaScript, which writes both as 30.
 */
const floats = [
  "initializer_range",
  "rms_norm_eps",
  "layer_norm_epsilon",
  "final_logit_softcapping",
  "attn_logit_softcapping",
  "rope_theta",
  "rope_local_base_freq",
  "factor",
  "low_freq_factor",
  "high_freq_factor",
  "attention_factor",
  "beta_fast",
  "beta_slow",
];

const wholeFloat = new RegExp(`^( *"(?:${floats.join("|")})": -?\\d+)(?=,?$)`, "gm");

/** A config as text, one field to a line, with `.0` where a float is a whole number. */
export function configText(json: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify(json, null, 2).replaceAll(wholeFloat, "$1.0")}\n`;
}
