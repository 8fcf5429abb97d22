/**
 * Optional features of an adapter: which are asked for, and which were granted.
 *
 * @module
 */

/** Lanes of a workgroup see each other's registers. Not in every runtime's list of names. */
export const SUBGROUPS = "subgroups" as GPUFeatureName;
/** 64-bit integers, which WebGPU does not have: Deno's name for them. */
export const INT64 = "wgpu-shader-int64" as GPUFeatureName;

const listed: readonly GPUFeatureName[] = ["timestamp-query", "shader-f16"];
/** What Deno grants without listing it among an adapter's features: to be asked for, the most first. */
const unlisted: readonly (readonly GPUFeatureName[])[] = [[SUBGROUPS, INT64], [SUBGROUPS]];

/** A device with every useful feature that the adapter grants. */
export async function requestDevice(
  adapter: GPUAdapter,
  requiredLimits: Record<string, number>,
): Promise<GPUDevice> {
  const features = listed.filter((feature) => adapter.features.has(feature));
  for (const more of unlisted) {
    try {
      return await adapter.requestDevice({
        requiredFeatures: [...features, ...more],
        requiredLimits,
      });
    } catch {
      // Refused, or no name that this runtime knows: ask for less.
    }
  }
  return await adapter.requestDevice({ requiredFeatures: features, requiredLimits });
}

/** The useful features that a device has. */
export function grantedFeatures({ features }: GPUDevice): GPUFeatureName[] {
  return [...listed, ...unlisted[0]!].filter((name) => features.has(name));
}
