/**
 * Workgroup shapes by device class: the only place where the kind of adapter matters.
 *
 * A software adapter runs one workgroup as one SIMD loop on a CPU core: barriers and wide groups
 * cost 5-50x there, one SIMD width per group is best. A GPU wants 64 and more lanes per group.
 *
 * @module
 */

/** The workgroup sizes that kernels take as `override` constants. */
export interface Tuning {
  /** Lanes of kernels that give each lane a row or a register tile. */
  readonly lanes: number;
  /** Lanes of elementwise kernels. */
  readonly wide: number;
  /** Rows of tokens folded by one workgroup when a column sum is split into partial sums. */
  readonly partialRows: number;
}

/** One row per device class. */
export const tunings: { readonly software: Tuning; readonly gpu: Tuning } = {
  software: { lanes: 8, wide: 256, partialRows: 256 },
  gpu: { lanes: 64, wide: 256, partialRows: 64 },
};
