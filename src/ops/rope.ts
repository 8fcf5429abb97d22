/**
 * Rotary position embedding (Su et al. 2021), in Hugging Face's half-split layout.
 *
 * @module
 */

import type { Gpu } from "../gpu/device.ts";
import type { Tape } from "../tape.ts";
import { assertShape, Tensor } from "../tensor.ts";
import { elementwise } from "./launch.ts";

/** Cosines and sines of position * theta^(-2i/D), each [positions, D/2]. */
export interface RopeTable {
  readonly cosines: Tensor;
  readonly sines: Tensor;
}

/**
 * Computes the table in f64 on the host: at position 1,000 an angle from f32 powers is off by 1e-4.
 *
 * @param D head dimension, a multiple of 8
 * @throws {RangeError} if D is not.
 */
export function ropeTable(gpu: Gpu, positions: number, D: number, theta: number): RopeTable {
  if (D % 8 !== 0) {
    throw new RangeError(
      `Cannot rotate heads of dimension ${D}: rotary embedding needs a multiple of 8`,
    );
  }
  const half = D / 2;
  const cosines = new Float32Array(positions * half);
  const sines = new Float32Array(positions * half);
  for (let p = 0; p < positions; p++) {
    for (let i = 0; i < half; i++) {
      const angle = p * theta ** (-2 * i / D);
      cosines[p * half + i] = Math.cos(angle);
      sines[p * half + i] = Math.sin(angle);
    }
  }
  const table = (values: Float32Array, label: string) => {
    const buffer = gpu.allocate(values.byteLength, "weights", label);
    gpu.write(buffer, values);
    return new Tensor(buffer, [positions, half], "f32", label);
  };
  return { cosines: table(cosines, "rope cosines"), sines: table(sines, "rope sines") };
}

/**
 * Rotates every head of x[T, H * D] by its token's position.
 *
 * @param positions u32 [T], below the table's length
 */
export function rope(
  tape: Tape,
  x: Tensor,
  positions: Tensor,
  table: RopeTable,
  heads: number,
): Tensor {
  const [T, width] = x.shape as [number, number];
  const half = table.cosines.shape[1]!;
  assertShape(x, [T, heads * 2 * half], "rotate");
  assertShape(positions, [T], "rotate");
  const { gpu } = tape;
  const rotate = (from: Tensor, to: Tensor, sign: number, beta: number) =>
    elementwise(gpu, "rope", "rotate", T * heads * half / 4, {
      x: from,
      positions,
      cosines: table.cosines,
      sines: table.sines,
      y: to,
    }, { rows: T, heads, half, sign, beta });
  const y = tape.tensor([T, width], "rope", [x]);
  rotate(x, y, 1, 0);

  tape.record([y], () => {
    const dy = y.grad;
    if (dy) tape.accumulate(x, (dx, beta) => rotate(dy, dx, -1, beta));
  });
  return y;
}
