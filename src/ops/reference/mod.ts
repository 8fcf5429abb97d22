/**
 * Every op as plain loops over f64, forward and backward: what the kernels are tested against, here
 * and on the user's machine by `./mentor doctor`, and the shortest explanation of each kernel.
 * Inputs are any array-likes (so the f32 inputs of a kernel can be passed as they are), outputs are
 * new Float64Arrays; nothing is changed in place.
 *
 * @module
 */

export * from "./activation.ts";
export * from "./add.ts";
export * from "./adamw.ts";
export * from "./advantage.ts";
export * from "./attention.ts";
export * from "./attention_decode.ts";
export * from "./divergence.ts";
export * from "./embedding.ts";
export * from "./layernorm.ts";
export * from "./lm_head.ts";
export * from "./matmul.ts";
export * from "./policy_loss.ts";
export * from "./preference_loss.ts";
export * from "./rmsnorm.ts";
export * from "./rope.ts";
export * from "./sampling.ts";
export * from "./value_loss.ts";
