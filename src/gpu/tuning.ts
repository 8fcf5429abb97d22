/**
 * Workgroup shapes by device class: the only place where the kind of adapter matters.
 *
 * A software adapter runs one workgroup as one SIMD loop on a CPU core: barriers, workgroup memory
 * and wide groups cost 5-50x there, and registers handed round the lanes of a subgroup are the
 * cheapest way to share. A GPU wants many lanes that read side by side, and tiles in workgroup memory.
 *
 * @module
 */

import { INT64, SUBGROUPS } from "./features.ts";

/** A tile of a matrix product: in workgroup memory, and in the registers of a lane. */
export interface MatmulTile {
  /** Lanes along the columns. */
  readonly lanesN: number;
  /** Lanes along the rows. */
  readonly lanesM: number;
  /** Blocks of 4 columns that a lane makes. */
  readonly blocksN: number;
  /** Blocks of 4 rows that a lane makes. */
  readonly blocksM: number;
  /** Terms of the sum that are loaded at a time; a multiple of 4. */
  readonly depth: number;
}

/** What kernels take as `override` constants, and which of two kernels does the work. */
export interface Tuning {
  /** Lanes of kernels whose lanes have a row each, or share it with their neighbours; a power of 2. */
  readonly lanes: number;
  /** Lanes of elementwise kernels; a power of 2. */
  readonly wide: number;
  /** Rows of tokens folded by one workgroup when a column sum is split into partial sums. */
  readonly partialRows: number;
  /** Products and attention by registers shared within a subgroup of 8 lanes; needs `subgroups`. */
  readonly simd: boolean;
  /** Where `simd` is true, the most blocks of 8 rows that a lane makes in a product: 1, 2 or 4. */
  readonly simdBlocks: number;
  /**
   * Bits that kernels read at a time in their inner loops; 64 needs 64-bit integers. llvmpipe checks
   * and fetches each lane's element by itself: two f32 as one take 0.6 times the instructions.
   */
  readonly readBits: 32 | 64;
  /** The tile of a matrix product where `simd` is false. */
  readonly matmul: MatmulTile;
  /** The same where it fits in one row of these, or the others are too few for the adapter. */
  readonly matmulSmall: MatmulTile;
  /** Most rows of products that are made without tiles of rows; at most 28. */
  readonly fewRows: number;
  /** Workgroups that a product should have at least: with fewer, part of the adapter is idle. */
  readonly workgroups: number;
  /**
   * Lanes that share a row, where a kernel goes through the rows of a matrix; a power of 2. Where it is
   * above 1, lanes that see each other's registers share a head in attention, too.
   */
  readonly rowLanes: number;
  /** Write loops out before the driver sees them (see unroll.ts). */
  readonly unroll: boolean;
  /**
   * Rounds of decode steps that are under way at a time. With two the host looks at the tokens of one
   * while the GPU works on the next, and sequences that have ended idle in that. Where the host takes
   * its time from the adapter's own cores one is faster: rollouts take 0.82 of the time under llvmpipe.
   */
  readonly roundsInFlight: number;
}

/** With so many rows, their tile and that of a weight take the 16 KiB that every adapter has. */
const MOST_FEW_ROWS = 28;

const narrow: MatmulTile = { lanesN: 8, lanesM: 1, blocksN: 1, blocksM: 2, depth: 16 };

const simd: Tuning = {
  lanes: 8,
  wide: 256,
  partialRows: 256,
  simd: true,
  simdBlocks: 4,
  readBits: 64,
  matmul: narrow,
  matmulSmall: narrow,
  fewRows: 0,
  workgroups: 0,
  rowLanes: 1,
  unroll: false,
  roundsInFlight: 1,
};

/** One row per device class. */
export const tunings: { readonly [name in "simd" | "simd32" | "software" | "gpu"]: Tuning } = {
  /** llvmpipe and its like, with subgroups of at least 8 lanes. */
  simd,
  /** The same where the runtime grants no 64-bit integers. */
  simd32: { ...simd, readBits: 32 },
  /** Software adapters without them. */
  software: {
    lanes: 8,
    wide: 256,
    partialRows: 256,
    simd: false,
    simdBlocks: 0,
    readBits: 32,
    matmul: narrow,
    matmulSmall: { ...narrow, blocksM: 1 },
    fewRows: 0,
    workgroups: 0,
    rowLanes: 1,
    unroll: false,
    roundsInFlight: 1,
  },
  gpu: {
    lanes: 32,
    wide: 256,
    partialRows: 32,
    simd: false,
    simdBlocks: 0,
    readBits: 32,
    matmul: { lanesN: 16, lanesM: 16, blocksN: 1, blocksM: 1, depth: 16 },
    matmulSmall: { lanesN: 8, lanesM: 8, blocksN: 1, blocksM: 1, depth: 16 },
    fewRows: 16,
    workgroups: 256,
    rowLanes: 32,
    unroll: true,
    roundsInFlight: 2,
  },
};

/** What an adapter says of itself, as far as it matters here. */
interface AdapterTraits {
  readonly software: boolean;
  readonly features: readonly string[];
  readonly subgroupSize: number;
}

/**
 * Checks what kernels rely on.
 *
 * @throws {RangeError} if kernels would compute something else with it, or not compile.
 */
export function checkTuning(tuning: Tuning): void {
  const demand = (
    name: "lanes" | "wide" | "rowLanes" | "fewRows",
    holds: boolean,
    what: string,
  ) => {
    if (holds) return;
    throw new RangeError(`Cannot use this tuning: ${name} is ${tuning[name]}, it must be ${what}`);
  };
  for (const name of ["lanes", "wide", "rowLanes"] as const) {
    demand(name, Number.isInteger(Math.log2(tuning[name])), "a power of 2");
  }
  demand("rowLanes", tuning.rowLanes <= tuning.wide, `at most wide, ${tuning.wide}`);
  demand("fewRows", tuning.fewRows <= MOST_FEW_ROWS, `at most ${MOST_FEW_ROWS}`);
}

/** Whether an adapter can run the kernels of a device class. */
export function supports(
  { features, subgroupSize }: Pick<AdapterTraits, "features" | "subgroupSize">,
  { simd, readBits }: Tuning,
): boolean {
  return (!simd || sharesRegisters({ features, subgroupSize })) &&
    (readBits === 32 || features.includes(INT64));
}

/** Whether eight neighbouring lanes, or more, see each other's registers. */
export function sharesRegisters(
  { features, subgroupSize }: Pick<AdapterTraits, "features" | "subgroupSize">,
): boolean {
  return features.includes(SUBGROUPS) && subgroupSize >= 8;
}

/** The device class of an adapter. */
export function deviceClass(adapter: AdapterTraits): keyof typeof tunings {
  if (!adapter.software) return "gpu";
  const fitting = (["simd", "simd32"] as const).find((name) => supports(adapter, tunings[name]));
  return fitting ?? "software";
}
