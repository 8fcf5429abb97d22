/**
 * What can go wrong on the GPU, as classes that callers may catch.
 *
 * @module
 */

/** No usable adapter: none answered, or the one that did lacks what the kernels need. */
export class GpuUnavailableError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "GpuUnavailableError";
}

/** The device rejected a command; WebGPU reports this late, so the message carries its text. */
export class GpuValidationError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "GpuValidationError";
}

/** A WGSL module or pipeline did not compile; the message holds label, reason and numbered source. */
export class ShaderCompileError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "ShaderCompileError";
}

/** The device is gone (driver reset, unplugged, destroyed); nothing on it can be used any more. */
export class DeviceLostError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "DeviceLostError";
}

/** An allocation did not fit; the message holds a table of who holds what. */
export class OutOfMemoryError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "OutOfMemoryError";
}
