/**
 * Where a model's weights come from: random numbers, or the tensors of a checkpoint.
 *
 * @module
 */

import { CheckpointError } from "../io/safetensors.ts";
import { Random } from "../random.ts";
import { elements } from "../tensor.ts";
import type { DecoderConfig } from "./config.ts";
import {
  assemble,
  isRedundant,
  type ParameterSpec,
  storedName,
  tensorShapes,
} from "./parameters.ts";

/**
 * Random values of one parameter: matrices normal with variance 1/fan-in, the two projections back
 * into the residual stream scaled down by sqrt(2 layers) (Radford et al. 2019); norms the identity,
 * biases 0.
 */
export function randomValues(
  spec: ParameterSpec,
  { layers, norm }: DecoderConfig,
  seed: number,
): Float32Array {
  const { role, kind, parts } = spec;
  const values = new Map<string, Float32Array>();
  for (const { name, shape, transposed } of parts) {
    const data = new Float32Array(elements(shape));
    if (shape.length === 2) {
      const random = new Random(`${seed}/${name}`);
      const residual = role === "o" || role === "down" ? Math.sqrt(2 * layers) : 1;
      const deviation = 1 / Math.sqrt(shape[transposed ? 0 : 1]!) / residual;
      for (let i = 0; i < data.length; i++) data[i] = deviation * normal(random);
    } else if (kind === "weight" && norm !== "rms1") data.fill(1);
    values.set(name, data);
  }
  return assemble(spec, values);
}

/**
 * The name under which a checkpoint stores each tensor of a model.
 *
 * @throws {CheckpointError} listing tensors that are missing, unexpected or of another shape.
 */
export function matchTensors(
  config: DecoderConfig,
  stored: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  label: string,
): Map<string, string> {
  const problems: string[] = [];
  const found = new Map<string, string>();
  for (const [name, shape] of tensorShapes(config)) {
    const own = storedName(name, (name) => stored.has(name));
    const given = own === null ? null : stored.get(own)!.shape;
    if (own === null) problems.push(`"${name}" is missing`);
    else if (given!.join() !== shape.join()) {
      problems.push(
        `"${own}" has shape [${given!.join(", ")}], config expects [${shape.join(", ")}]`,
      );
    } else found.set(name, own);
  }
  const used = new Set(found.values());
  const known = tensorShapes(config);
  for (const name of stored.keys()) {
    if (!used.has(name) && !known.has(name) && !isRedundant(name, config)) {
      problems.push(`"${name}" is not part of this model`);
    }
  }
  if (problems.length > 0) {
    throw new CheckpointError(
      `Cannot load model from "${label}": ${problems.join("; ")}. ` +
        "Check that config.json belongs to these weights",
    );
  }
  return found;
}

/** Box-Muller. */
function normal(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random.float()));
  return radius * Math.cos(2 * Math.PI * random.float());
}
