/**
 * What a folder holds of a model, in the layout that Hugging Face's tools share.
 *
 * Knows file names and no contents: reading a config, a tokenizer or the tensors of an architecture
 * is for those who need them.
 *
 * @module
 */

import { folder } from "./folder.ts";
import { CheckpointError, openSafetensors } from "./safetensors.ts";
import { openShards } from "./shards.ts";
import type { ByteSource, TensorSource } from "./source.ts";

/** File names that mean something to more than one module. */
export const modelFileNames = {
  config: "config.json",
  weights: "model.safetensors",
  index: "model.safetensors.index.json",
  adapterConfig: "adapter_config.json",
  adapter: "adapter_model.safetensors",
} as const;

/** Weights in safetensors, in one file or in shards. */
export interface SafetensorsWeights {
  /** How the weights are stored. */
  readonly kind: "safetensors";
  /** Opens them; reads the headers alone. */
  open(): Promise<TensorSource>;
}

/** Weights in a GGUF file, which holds the model's config and tokenizer as well. */
export interface GgufWeights {
  /** How the weights are stored. */
  readonly kind: "gguf";
  /** Where the file lies. */
  readonly path: string;
  /** Opens it; reads nothing yet. */
  open(): Promise<ByteSource>;
}

/** A model's files, found but not read yet. */
export interface ModelFiles {
  /** The folder, or the GGUF file. */
  readonly path: string;
  /** The small files about the model that are there: config, tokenizer, chat template and so on. */
  readonly names: readonly string[];
  /** The model's weights; null where there is only an adapter for another model. */
  readonly weights: SafetensorsWeights | GgufWeights | null;
  /** The weights of a low-rank adapter beside its `adapter_config.json`, where there is one. */
  readonly adapter: SafetensorsWeights | null;
  /**
   * The contents of one of `names`.
   *
   * @throws {CheckpointError} if there is no such file
   */
  read(name: string): Promise<Uint8Array>;
}

/** Whether a file of this name says something about a model, beside its weights. */
export function isModelText(name: string): boolean {
  return /^((generation_|adapter_)?config|special_tokens_map|added_tokens|vocab)\.json$/
    .test(name) ||
    /^(tokenizer[\w.-]*\.(json|model)|chat_template[\w.-]*\.(jinja|json)|merges\.txt|vocab\.txt)$/
      .test(name);
}

/** Whether a file of this name has weights in the GGUF format. */
export function isGguf(name: string): boolean {
  return /\.gguf$/i.test(name);
}

/**
 * Finds the files of a model.
 *
 * Where a folder holds both safetensors and GGUF the former is taken: it is what the latter was
 * made from.
 *
 * @param path a folder, or a single `.gguf` file
 * @throws {CheckpointError} if a part is missing or it isn't clear which one is meant; names the
 * folder, what it holds, and what is needed
 */
export async function findModel(path: string): Promise<ModelFiles> {
  const all = await folder().list(path);
  if (all === null) {
    if (isGguf(path)) return found(path, [], gguf(path), null);
    throw new CheckpointError(
      `Cannot find a model in "${path}": there is no such folder. Name a folder with config.json ` +
        "and model.safetensors, or a .gguf file",
    );
  }
  const has = (name: string) => all.includes(name);
  const { config, weights, index, adapter, adapterConfig } = modelFileNames;

  let main: ModelFiles["weights"] = null;
  if (has(weights)) main = single(path, weights);
  else if (has(index)) main = sharded(path);
  if (main !== null && !has(config)) throw incomplete(path, all, `it has weights but no ${config}`);

  const ggufs = all.filter(isGguf);
  if (main === null && ggufs.length === 1) main = gguf(inside(path, ggufs[0]!));
  if (main === null && ggufs.length > 1) {
    throw new CheckpointError(
      `Cannot choose a model in "${path}": it holds ${listed(ggufs)}. Name one of these files`,
    );
  }

  if (has(adapter) && !has(adapterConfig)) {
    throw incomplete(path, all, `it has ${adapter} but no ${adapterConfig}`);
  }
  const extra = has(adapter) ? single(path, adapter) : null;
  if (main === null && extra === null) throw incomplete(path, all, missingWeights(all));
  return found(path, all.filter(isModelText), main, extra);
}

function found(
  path: string,
  names: readonly string[],
  weights: ModelFiles["weights"],
  adapter: ModelFiles["adapter"],
): ModelFiles {
  return {
    path,
    names,
    weights,
    adapter,
    async read(name) {
      if (!names.includes(name)) {
        throw new CheckpointError(
          `Cannot read "${name}" of the model in "${path}": there is ${
            names.length === 0 ? "no file beside the weights" : `only ${listed(names)}`
          }`,
        );
      }
      return (await folder().read(path, [name]))[name]!;
    },
  };
}

function single(directory: string, name: string): SafetensorsWeights {
  return {
    kind: "safetensors",
    open: async () => await openSafetensors(await folder().open(inside(directory, name))),
  };
}

function sharded(directory: string): SafetensorsWeights {
  const { index } = modelFileNames;
  return {
    kind: "safetensors",
    open: async () =>
      await openShards(
        (await folder().read(directory, [index]))[index]!,
        (file) => folder().open(inside(directory, file)),
        `"${inside(directory, index)}"`,
      ),
  };
}

function gguf(path: string): GgufWeights {
  return { kind: "gguf", path, open: () => folder().open(path) };
}

/** Why none of a folder's files are weights that can be read, and what to do about it. */
function missingWeights(all: readonly string[]): string {
  const safetensors = all.filter((name) => name.endsWith(".safetensors"));
  if (safetensors.length > 0) {
    return `its weights are called ${listed(safetensors)}, not ${modelFileNames.weights}: ` +
      "rename the file, or fetch the index that belongs to the shards";
  }
  const pickled = all.filter((name) => /\.(bin|pt|pth|ckpt)$/.test(name));
  if (pickled.length > 0) {
    return `its weights (${listed(pickled)}) are in PyTorch's format, which can run code when it ` +
      "is read. Convert them to safetensors, in Python: AutoModelForCausalLM" +
      ".from_pretrained(folder).save_pretrained(folder)";
  }
  return "it has no weights";
}

function incomplete(path: string, all: readonly string[], fault: string): CheckpointError {
  const { config, weights, index, adapter, adapterConfig } = modelFileNames;
  return new CheckpointError(
    `Cannot find a model in "${path}": ${fault}. The folder holds ${listed(all)}; needed are ` +
      `${config} with ${weights} or ${index} and its shards, or one .gguf file, or ` +
      `${adapterConfig} with ${adapter}`,
  );
}

/** Names in a sentence; a folder may hold thousands. */
function listed(names: readonly string[]): string {
  if (names.length === 0) return "nothing";
  const more = names.length - 12;
  return names.slice(0, 12).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function inside(directory: string, name: string): string {
  return `${directory.replace(/(?<=.)[/\\]+$/, "")}/${name}`;
}
