/**
 * The limits of a device: as many as its adapter has, and never fewer than the kernels need.
 *
 * @module
 */

import { GpuUnavailableError } from "./errors.ts";

/** Limits that we ask for up to what the adapter has: the defaults are far lower. */
const wanted = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupStorageSize",
] as const;

/** What every kernel relies on; an adapter below any of these is refused. */
const required: Readonly<Record<string, number>> = {
  maxStorageBuffersPerShaderStage: 8,
  maxStorageBufferBindingSize: 128 * 2 ** 20,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
};

/**
 * What to ask of an adapter.
 *
 * @throws {GpuUnavailableError} if it lacks a limit that the kernels need.
 */
export function limitsOf(adapter: GPUAdapter): Record<string, number> {
  const limits: Record<string, number> = {};
  for (const name of wanted) limits[name] = adapter.limits[name];
  for (const [name, needed] of Object.entries(required)) {
    const offered = limits[name]!;
    if (offered < needed) {
      throw new GpuUnavailableError(
        `Cannot use adapter "${adapter.info.description}": ${name} is ${offered}, the kernels need ${needed}; ` +
          "update its driver or choose another adapter",
      );
    }
  }
  return limits;
}
