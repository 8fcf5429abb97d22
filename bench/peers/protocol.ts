/**
 * What the JavaScript contenders share: arguments, the loop that a parent drives, the model's files.
 *
 * A contender is a child process that speaks JSON lines. It prints one `ready` line when it is
 * warm, then answers every line `run` on stdin with one timed repetition, so that a parent can
 * interleave contenders A B A B. If it can't do the work it prints one `error` line instead.
 * Stdout holds nothing else: the libraries' own messages go to stderr.
 *
 * @module
 */

import process from "node:process";
import { decodeSafetensors, toFloat32 } from "../../src/io/safetensors.ts";
import { type Operation, operations } from "./operations.ts";

/** What to measure. */
export type Work =
  /** f32 product of two n x n matrices. */
  | { readonly kind: "matmul"; readonly n: number }
  /** One training step: forward, backward, AdamW. */
  | { readonly kind: "step" }
  /**
   * 64 tokens for each of `batch` sequences, greedy, with a key/value cache. Timed are 64 passes of
   * one token per sequence; the prompt's prefill is not.
   */
  | { readonly kind: "decode"; readonly batch: number }
  /** Forward and backward of one operation, or one update of the optimizer; see operations.ts. */
  | { readonly kind: Operation };

/** The command line, parsed. */
export interface Options {
  readonly work: Work;
  /** Folder with config.json, model.safetensors and tokens.json. */
  readonly data: string;
  readonly backend: "webgpu" | "wasm";
}

/** One timed repetition: `value` is a loss, a checksum or a list of tokens. */
export interface Result {
  /** Wall time of one product, one pass, one step, or all decoding of a repetition. */
  readonly ms: number;
  /** CPU time of all threads meanwhile, user and system. */
  readonly cpuMs: number;
  readonly value: number | readonly number[];
}

/** A work that is loaded and warm. */
export interface Job {
  /** What the parent compares before any repetition; the loss of the initial weights for `step`. */
  readonly value: Result["value"];
  run(): Promise<Result>;
}

/** The sizes of a Llama, as Hugging Face names them. */
export interface Config {
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly head_dim: number;
  readonly vocab_size: number;
  readonly rope_theta: number;
  readonly rms_norm_eps: number;
}

/** A weight on the host: `data` is row-major. */
export interface Weight {
  readonly name: string;
  readonly shape: number[];
  readonly data: Float32Array<ArrayBuffer>;
}

/** A model and the tokens to train on, both on the host. */
export interface Model {
  readonly config: Config;
  readonly weights: readonly Weight[];
  /** Sequences, B. */
  readonly batch: number;
  /** Tokens of each sequence, T. */
  readonly length: number;
  /** B x T token numbers, row after row. */
  readonly inputs: Int32Array<ArrayBuffer>;
  /** The token that follows each input, B x T. */
  readonly targets: Int32Array<ArrayBuffer>;
}

/** The settings of AdamW, the same for every contender; as in Mentor, every tensor decays. */
export const adamw = { rate: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: 0.1 } as const;

/** Sequences of a training step, and their length in tokens. */
export const stepSizes = { batch: 8, length: 128 } as const;

/** Prompt and continuation of `decode`, in tokens. */
export const decodeLengths = { prompt: 64, steps: 64 } as const;

/**
 * Times work that yields a value; `count` is how many times it does what is measured.
 *
 * The process measures its own CPU time: from outside, it could not be told from that of a prefill
 * that is not timed.
 */
export async function timed<T extends Result["value"]>(
  work: () => Promise<T>,
  count = 1,
): Promise<Result> {
  const used = process.cpuUsage();
  const begin = performance.now();
  const value = await work();
  const ms = performance.now() - begin;
  const { user, system } = process.cpuUsage(used);
  return { ms: ms / count, cpuMs: (user + system) / 1000 / count, value };
}

/**
 * Reads the command line, prepares the work and answers `run` lines until stdin ends.
 *
 * Whatever `prepare` throws becomes the one `error` line: the parent skips the contender.
 */
export async function serve(
  library: string,
  prepare: (options: Options) => Promise<Job>,
): Promise<void> {
  await converse(async () => {
    const options = parseOptions(Deno.args);
    const job = await prepare(options);
    return {
      ready: { library, backend: options.backend, value: job.value },
      answer: async (request) => request === "run" ? await job.run() : null,
    };
  });
}

/** A child that is warm. */
export interface Talk {
  /** What its `ready` line says. */
  readonly ready: Readonly<Record<string, unknown>>;
  /** The answer to one line of stdin; null is none. */
  answer(request: string): Promise<object | null>;
}

/** The child's side: one `ready` line, then a line for every one that it is asked to answer. */
export async function converse(prepare: () => Promise<Talk>): Promise<void> {
  console.log = console.info = console.debug = console.error;
  // Also what a library rejects or throws behind our back, as on a lost device.
  for (const event of ["error", "unhandledrejection"] as const) {
    globalThis.addEventListener(event, (e: Event) => {
      e.preventDefault();
      fail(e instanceof PromiseRejectionEvent ? e.reason : (e as ErrorEvent).error);
    });
  }
  try {
    const talk = await prepare();
    print({ ready: true, ...talk.ready });
    for await (const line of lines(Deno.stdin.readable)) {
      const answer = await talk.answer(line);
      if (answer) print(answer);
    }
    Deno.exit(0);
  } catch (error) {
    fail(error);
  }
}

/** Reads the model and the tokens from `folder`. */
export async function readModel(folder: string): Promise<Model> {
  const config = JSON.parse(await Deno.readTextFile(`${folder}/config.json`)) as Config;
  const tokens = await readTokens(folder);
  const stored = decodeSafetensors(await Deno.readFile(`${folder}/model.safetensors`));
  const weights = [...stored.tensors].map(([name, tensor]) => ({
    name,
    shape: [...tensor.shape],
    data: new Float32Array(toFloat32(tensor)),
  }));
  return {
    config,
    weights,
    batch: tokens.inputs.length,
    length: tokens.inputs[0]!.length,
    inputs: new Int32Array(tokens.inputs.flat()),
    targets: new Int32Array(tokens.targets.flat()),
  };
}

/** Reads the sequences to train on from `folder`, and the token that follows each of theirs. */
export async function readTokens(
  folder: string,
): Promise<{ inputs: number[][]; targets: number[][] }> {
  return JSON.parse(await Deno.readTextFile(`${folder}/tokens.json`));
}

/** Cosines and sines of the rotary embedding, each `length` x `head_dim` / 2. */
export function rotaryTables({ head_dim: D, rope_theta }: Config, length: number) {
  const half = D / 2;
  const cos = new Float32Array(length * half);
  const sin = new Float32Array(length * half);
  for (let i = 0; i < cos.length; i++) {
    const angle = Math.floor(i / half) * rope_theta ** (-2 * (i % half) / D);
    cos[i] = Math.cos(angle);
    sin[i] = Math.sin(angle);
  }
  return { cos, sin };
}

function parseOptions(args: readonly string[]): Options {
  const values = new Map<string, string>();
  for (let i = 0; i < args.length; i += 2) values.set(args[i]!, args[i + 1] ?? "");
  const backend = values.get("--backend") ?? "webgpu";
  if (backend !== "webgpu" && backend !== "wasm") {
    throw new RangeError(`Cannot use backend "${backend}": choose webgpu or wasm`);
  }
  return { work: parseWork(values.get("--work") ?? ""), data: values.get("--data") ?? "", backend };
}

/**
 * Reads a work as the command line names it.
 *
 * @throws {RangeError} if there is no such work.
 */
export function parseWork(text: string): Work {
  const [kind, size = "0"] = text.split(":");
  if (kind === "step") return { kind };
  const whole = (low: number, high: number, step: number) =>
    Number(size) >= low && Number(size) <= high && Number(size) % step === 0;
  if (kind === "matmul" && whole(128, 4096, 4)) return { kind, n: Number(size) };
  if (kind === "decode" && whole(1, 256, 1)) return { kind, batch: Number(size) };
  const operation = operations.find((name) => name === text);
  if (operation) return { kind: operation };
  throw new RangeError(
    `Cannot do work "${text}": choose step, ${operations.join(", ")}, matmul:N (128 to 4096, a ` +
      "multiple of 4) or decode:N (1 to 256)",
  );
}

/** The lines of a stream of UTF-8, trimmed; an unfinished one at its end is no line. */
export async function* lines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop()!;
    yield* parts.map((line) => line.trim());
  }
}

function print(message: unknown): void {
  const bytes = new TextEncoder().encode(JSON.stringify(message) + "\n");
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

function fail(error: unknown): never {
  console.error(error);
  const text = error instanceof Error ? error.message : String(error);
  print({ error: text.split("\n")[0] });
  Deno.exit(0);
}
