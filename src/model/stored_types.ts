/**
 * In which types an adapter can keep frozen weights.
 *
 * Weights of two bytes are unpacked by the products and look-ups that read them. That is tried on the
 * adapter, with every number of the type, before a model is loaded that way: a driver that gets one of
 * them wrong would spoil a model silently.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import { GpuValidationError, ShaderCompileError } from "../gpu/errors.ts";
import { toFloat32 } from "../io/safetensors.ts";
import { embedding } from "../ops/embedding.ts";
import { matmul } from "../ops/matmul.ts";
import { Tape } from "../tape.ts";
import { type FloatType, rowRange, Tensor } from "../tensor.ts";
import type { WeightStorage } from "./weights.ts";

/** Types of two bytes. */
export type Packed = Exclude<FloatType, "f32">;

/** What is known of a checkpoint's tensors, by its own names. */
type StoredEntries = ReadonlyMap<
  string,
  { readonly dtype: string; readonly shape: readonly number[] }
>;

/** All numbers of two bytes are a matrix of so many columns. */
const K = 64;
const N = 2 ** 16 / K;
/** Rows of products with the matrix: one, few and many have kernels of their own. */
const HEIGHTS = [1, 8, K];
/** f32 below this may count as 0 in a product. */
const LEAST_NORMAL = 2 ** -126;

const known = new WeakMap<Gpu, Map<Packed, boolean>>();

/**
 * The type to keep a model's matrices in: f32 where they are trained; else what was asked for, or what
 * their file has, if the adapter gets its products right.
 *
 * @param entries types by the file's own names for them
 * @throws {TypeError} if the adapter's products of the type that was asked for are wrong.
 */
export async function typeToKeep(
  gpu: Gpu,
  entries: StoredEntries,
  { dtype, frozen = false }: WeightStorage,
): Promise<FloatType> {
  return await usableType(gpu, frozen ? storedType(entries) : "f32", dtype);
}

/**
 * The type that was asked for; or else the one a model is stored in, if the adapter gets its products
 * right, or f32.
 *
 * @throws {TypeError} if the adapter's products of the type that was asked for are wrong.
 */
export async function usableType(
  gpu: Gpu,
  stored: FloatType,
  asked?: FloatType,
): Promise<FloatType> {
  const wanted = asked ?? stored;
  if (wanted === "f32" || await unpacks(gpu, wanted)) return wanted;
  if (asked === undefined) return "f32";
  throw new TypeError(
    `Cannot keep weights as ${wanted}: ${gpu.info.description} multiplies them wrongly; keep them as ` +
      "f32, and see what ./mentor doctor has to say",
  );
}

/**
 * What to keep frozen weights as that come from a checkpoint: as they are stored. What was quantised
 * goes to bf16, whose rounding is finer than what the quantisation left.
 *
 * @param entries types by the file's own names for them
 */
export function storedType(entries: StoredEntries): FloatType {
  const types = [...entries.values()].filter(({ shape }) => shape.length > 1)
    .map(({ dtype }) => dtype);
  if (types.includes("F32")) return "f32";
  return types.length > 0 && types.every((dtype) => dtype === "F16") ? "f16" : "bf16";
}

/** Whether kernels unpack every number of a type exactly; tried once per device. */
async function unpacks(gpu: Gpu, dtype: Packed): Promise<boolean> {
  const results = known.get(gpu) ?? new Map<Packed, boolean>();
  known.set(gpu, results);
  const result = results.get(dtype) ?? await tryAll(gpu, dtype).catch((error) => {
    // A driver may not even compile them.
    if (!(error instanceof ShaderCompileError || error instanceof GpuValidationError)) throw error;
    gpu.discard();
    return false;
  });
  results.set(dtype, result);
  return result;
}

/** A look-up in a matrix of all numbers, and products of the identity with it and with its transpose. */
async function tryAll(gpu: Gpu, dtype: Packed): Promise<boolean> {
  const patterns = Uint16Array.from({ length: N * K }, (_, pattern) => pattern);
  const numbers = toFloat32({
    dtype: dtype === "f16" ? "F16" : "BF16",
    shape: [N, K],
    data: new Uint8Array(patterns.buffer),
  });
  numbers.forEach((number, i) => {
    if (Number.isFinite(number) && Math.abs(number) >= LEAST_NORMAL) return;
    [patterns[i], numbers[i]] = [0, 0];
  });
  const identity = new Float32Array(K * K);
  for (let k = 0; k < K; k++) identity[k * K + k] = 1;

  const tape = new Tape(gpu, { recording: false });
  const a = tape.upload(identity, "identity", [K, K]);
  const words = gpu.upload(new Uint32Array(patterns.buffer), "every number");
  const matrix = (shape: number[]) => new Tensor(words, shape, dtype, "every number");
  const rows = tape.upload(Uint32Array.from({ length: N }, (_, n) => n), "rows");
  const found = [embedding(tape, matrix([N, K]), rows), tape.tensor([K, N], "product")];
  matmul(gpu, "nn", a, matrix([K, N]), found[1]!, { M: K, N, K });
  for (const M of HEIGHTS) {
    const product = tape.tensor([K, N], "product with the transpose");
    for (let row = 0; row < K; row += M) {
      const [own, c] = [rowRange(a, row, M), rowRange(product, row, M)];
      matmul(gpu, "nt", own, matrix([N, K]), c, { M, N, K });
    }
    found.push(product);
  }
  const contents = await gpu.read(...found);
  gpu.recycle();
  return contents.every((content, i) => {
    const values = new Float32Array(content);
    const transposed = i > 1;
    return numbers.every((number, at) =>
      values[transposed ? (at % K) * N + Math.floor(at / K) : at] === number
    );
  });
}
