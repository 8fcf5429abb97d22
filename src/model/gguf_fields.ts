/**
 * What a GGUF file says about its model, checked: the fields of its architecture by short names.
 *
 * @module
 */

import type { Gguf, GgufValue } from "../io/gguf.ts";
import { CheckpointError } from "../io/safetensors.ts";

/** GGUF's architectures that have a Hugging Face family here, with its `model_type`. */
export const modelTypes = {
  llama: "llama",
  qwen2: "qwen2",
  qwen3: "qwen3",
  gemma3: "gemma3_text",
  gpt2: "gpt2",
} as const;

/** An architecture as `general.architecture` names it. */
export type GgufArchitecture = keyof typeof modelTypes;

/** The metadata of one file; `key` is without the architecture in front: `block_count`. */
export class GgufFields {
  /** Which family the model is of. */
  readonly architecture: GgufArchitecture;
  readonly #gguf: Gguf;

  /** @throws {CheckpointError} if the architecture is missing or not supported. */
  constructor(gguf: Gguf) {
    this.#gguf = gguf;
    const architecture = gguf.metadata.get("general.architecture");
    if (typeof architecture !== "string" || !Object.hasOwn(modelTypes, architecture)) {
      throw this.fault(
        `"general.architecture" is ${shown(architecture)}, supported are ` +
          `${Object.keys(modelTypes).join(", ")}. Take a model of one of these`,
      );
    }
    this.architecture = architecture as GgufArchitecture;
  }

  /** An error about this file. */
  fault(what: string): CheckpointError {
    return new CheckpointError(`Cannot read ${this.#gguf.label}: ${what}`);
  }

  /** A field as it is in the file. */
  raw(key: string): GgufValue | undefined {
    return this.#gguf.metadata.get(`${this.architecture}.${key}`);
  }

  /**
   * A number; one that the file lists per layer must be the same for all.
   *
   * @throws {CheckpointError} if there is something else, or layers differ.
   */
  optional(key: string): number | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    const single = Array.isArray(value) && value.every((item) => item === value[0])
      ? value[0]
      : value;
    if (typeof single !== "number" || !Number.isFinite(single)) {
      const found = Array.isArray(value) ? "a list whose values differ" : shown(value);
      throw this.fault(
        `"${this.architecture}.${key}" is ${found}, expected one number. ` +
          "Models with such layers are not supported",
      );
    }
    return shortest(single);
  }

  /**
   * A number that must be there.
   *
   * @throws {CheckpointError} if it is missing or something else.
   */
  number(key: string): number {
    const value = this.optional(key);
    if (value !== undefined) return value;
    throw this.fault(
      `it has no "${this.architecture}.${key}". Convert the model again with a current llama.cpp`,
    );
  }

  /** A whole number under a full key, where it is one: an id of the tokenizer. */
  id(key: string): number | undefined {
    const value = this.#gguf.metadata.get(key);
    return Number.isSafeInteger(value) ? value as number : undefined;
  }
}

/** The shortest decimal that is the same f32: 1e-6 is stored as 9.999999974752427e-7. */
function shortest(value: number): number {
  if (Number.isInteger(value) || Math.fround(value) !== value) return value;
  for (let digits = 1; digits < 9; digits++) {
    const rounded = Number(value.toPrecision(digits));
    if (Math.fround(rounded) === value) return rounded;
  }
  return value;
}

function shown(value: GgufValue | undefined): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}
