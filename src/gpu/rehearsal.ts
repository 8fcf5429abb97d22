/**
 * A device that does nothing: everything can be recorded on it as on a real one, and is only counted.
 * What a run will need is found out by running it, without the memory and without the time.
 *
 * @module
 */

import type { GpuInfo } from "./device.ts";

/** A device with the limits of another, on which nothing is stored and nothing runs. */
export function rehearsalDevice({ limits, features }: GpuInfo): GPUDevice {
  const nothing = () => {};
  const pass = {
    setPipeline: nothing,
    setBindGroup: nothing,
    dispatchWorkgroups: nothing,
    end: nothing,
  };
  const encoder = { beginComputePass: () => pass, copyBufferToBuffer: nothing, finish: () => ({}) };
  const device = {
    limits,
    features: new Set(features),
    lost: new Promise(nothing),
    addEventListener: nothing,
    destroy: nothing,
    pushErrorScope: nothing,
    popErrorScope: () => Promise.resolve(null),
    createBuffer: ({ size, label }: GPUBufferDescriptor) => ({
      size,
      label,
      destroy: nothing,
      unmap: nothing,
      mapAsync: () => Promise.resolve(),
      getMappedRange: (_offset: number, bytes: number) => new ArrayBuffer(bytes),
    }),
    createBindGroupLayout: () => ({}),
    createBindGroup: () => ({}),
    createPipelineLayout: () => ({}),
    createShaderModule: () => ({}),
    createComputePipeline: () => ({}),
    createCommandEncoder: () => encoder,
    queue: {
      writeBuffer: nothing,
      submit: nothing,
      onSubmittedWorkDone: () => Promise.resolve(),
    },
  };
  return device as unknown as GPUDevice;
}
