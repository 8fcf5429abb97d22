/**
 * The block formats of GGUF, decoded to f32.
 *
 * A tensor is a row of blocks. A block holds a fixed number of elements as small integers q, and the
 * scales that turn them back: `d * q`, or `d * q + m` where a minimum m is stored too. The `K`
 * formats have blocks of 256 elements in groups of 16 or 32, whose own scales are small integers
 * that the block's f16 scale multiplies.
 *
 * Every product here has at most 25 significant bits and every sum fits a double, so that the one
 * rounding, on the store to f32, gives the bits that ggml's reference gives.
 *
 * @module
 */

/** How one format lays out its blocks. */
export interface BlockFormat {
  /** Elements in a block. */
  readonly elements: number;
  /** Bytes of a block. */
  readonly bytes: number;
}

/** Decodes `blocks` blocks that start at byte 0 of `from` into `to`. */
type Decoder = (from: Uint8Array, to: Float32Array, blocks: number) => void;

/** f32 of every f16 by its bits: two bytes become a number without a DataView. */
const half = new Float32Array(
  new Float16Array(Uint16Array.from({ length: 65536 }, (_, bits) => bits).buffer),
);

const formats: Readonly<Record<string, BlockFormat & { readonly decode: Decoder }>> = {
  Q4_0: { elements: 32, bytes: 18, decode: decodeQ4_0 },
  Q4_1: { elements: 32, bytes: 20, decode: decodeQ4_1 },
  Q5_0: { elements: 32, bytes: 22, decode: decodeQ5_0 },
  Q5_1: { elements: 32, bytes: 24, decode: decodeQ5_1 },
  Q8_0: { elements: 32, bytes: 34, decode: decodeQ8_0 },
  Q2_K: { elements: 256, bytes: 84, decode: decodeQ2_K },
  Q3_K: { elements: 256, bytes: 110, decode: decodeQ3_K },
  Q4_K: { elements: 256, bytes: 144, decode: decodeQ4_K },
  Q5_K: { elements: 256, bytes: 176, decode: decodeQ5_K },
  Q6_K: { elements: 256, bytes: 210, decode: decodeQ6_K },
};

/** The formats that {@linkcode dequantize} knows, by ggml's names. */
export const blockFormats: ReadonlyMap<string, BlockFormat> = new Map(Object.entries(formats));

/**
 * The elements of quantised data, in order.
 *
 * @param format one of {@linkcode blockFormats}
 * @param data whole blocks, one after the other
 * @returns f32, `data.length / bytes * elements` of them
 * @throws {RangeError} if the format is not known or `data` ends inside a block
 */
export function dequantize(format: string, data: Uint8Array): Float32Array<ArrayBuffer> {
  const known = Object.hasOwn(formats, format) ? formats[format] : undefined;
  if (!known) {
    throw new RangeError(
      `Cannot dequantise "${format}"; known are ${Object.keys(formats).join(", ")}`,
    );
  }
  const blocks = data.length / known.bytes;
  if (!Number.isInteger(blocks)) {
    throw new RangeError(
      `Cannot dequantise ${data.length} bytes of ${format}: a block has ${known.bytes}`,
    );
  }
  const values = new Float32Array(blocks * known.elements);
  known.decode(data, values, blocks);
  return values;
}

/** f16 d, then 16 bytes: element i in the low half of byte i, element 16 + i in the high half. */
function decodeQ4_0(from: Uint8Array, to: Float32Array, blocks: number): void {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 18, out += 32) {
    const d = half[from[at]! | (from[at + 1]! << 8)]!;
    for (let i = 0; i < 16; i++) {
      const q = from[at + 2 + i]!;
      to[out + i] = d * ((q & 15) - 8);
      to[out + 16 + i] = d * ((q >> 4) - 8);
    }
  }
}

/** f16 d, f16 m, then as Q4_0. */
function decodeQ4_1(from: Uint8Array, to: Float32Array, blocks: number): void {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 20, out += 32) {
    const d = half[from[at]! | (from[at + 1]! << 8)]!;
    const m = half[from[at + 2]! | (from[at + 3]! << 8)]!;
    for (let i = 0; i < 16; i++) {
      const q = from[at + 4 + i]!;
      to[out + i] = d * (q & 15) + m;
      to[out + 16 + i] = d * (q >> 4) + m;
    }
  }
}

/** f16 d, u32 of fifth bits (bit i for element i), then as Q4_0. */
function decodeQ5_0(from: Uint8Array, to: Float32Array, blocks: number): void {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 22, out += 32) {
    const d = half[from[at]! | (from[at + 1]! << 8)]!;
    const high = word(from, at + 2);
    for (let i = 0; i < 16; i++) {
      const q = from[at + 6 + i]!;
      to[out + i] = d * (((q & 15) | (((high >>> i) & 1) << 4)) - 16);
      to[out + 16 + i] = d * (((q >> 4) | (((high >>> (16 + i)) & 1) << 4)) - 16);
    }
  }
}

/** f16 d, f16 m, then as Q5_0. */
function decodeQ5_1(from: Uint8Array, to: Float32Array, blocks: number): void {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 24, out += 32) {
    const d = half[from[at]! | (from[at + 1]! << 8)]!;
    const m = half[from[at + 2]! | (from[at + 3]! << 8)]!;
    const high = word(from, at + 4);
    for (let i = 0; i < 16; i++) {
      const q = from[at + 8 + i]!;
      to[out + i] = d * ((q & 15) | (((high >>> i) & 1) << 4)) + m;
      to[out + 16 + i] = d * ((q >> 4) | (((high >>> (16 + i)) & 1) << 4)) + m;
    }
  }
}

/** f16 d, then 32 signed bytes. */
function decodeQ8_0(from: Uint8Array, to: Float32Array, blocks: number): void {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 34, out += 32) {
    const d = half[from[at]! | (from[at + 1]! << 8)]!;
    for (let i = 0; i < 32; i++) to[out + i] = d * ((from[at + 2 + i]! << 24) >> 24);
  }
}

/**
 * 16 bytes of scales (low half) and minima (high half) of groups of 16, 64 bytes of 2-bit elements,
 * f16 d, f16 dmin. Byte i of each run of 32 holds elements i, 32 + i, 64 + i, 96 + i.
 */
function decodeQ2_K(from: Uint8Array, to: Float32Array, blocks: number): void {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 84, out += 256) {
    const d = half[from[at + 80]! | (from[at + 81]! << 8)]!;
    const dmin = half[from[at + 82]! | (from[at + 83]! << 8)]!;
    for (let group = 0; group < 16; group++) {
      const packed = from[at + group]!;
      const scale = d * (packed & 15);
      const m = dmin * (packed >> 4);
      const shift = (group >> 1 & 3) * 2;
      const run = at + 16 + (group >> 3) * 32 + (group & 1) * 16;
      for (let i = 0; i < 16; i++) {
        to[out + group * 16 + i] = scale * ((from[run + i]! >> shift) & 3) - m;
      }
    }
  }
}

/**
 * 32 bytes of third bits (bit g of byte i for element i of the g-th 32; 0 means 4 less), 64 bytes
 * of 2-bit elements as in Q2_K, 12 bytes of 6-bit scales of groups of 16, f16 d.
 */
function decodeQ3_K(from: Uint8Array, to: Float32Array, blocks: number): void {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 110, out += 256) {
    const d = half[from[at + 108]! | (from[at + 109]! << 8)]!;
    for (let group = 0; group < 16; group++) {
      // The low four bits lie in bytes 0-7, first the low halves; the high two in bytes 8-11.
      const low = (from[at + 96 + (group & 7)]! >> (group >> 3 << 2)) & 15;
      const high = (from[at + 104 + (group & 3)]! >> (group >> 2 << 1)) & 3;
      const scale = d * ((low | (high << 4)) - 32);
      const bit = group >> 1;
      const shift = (bit & 3) * 2;
      const masks = at + (group & 1) * 16;
      const run = at + 32 + (group >> 3) * 32 + (group & 1) * 16;
      for (let i = 0; i < 16; i++) {
        const less = 4 - (((from[masks + i]! >> bit) & 1) << 2);
        to[out + group * 16 + i] = scale * (((from[run + i]! >> shift) & 3) - less);
      }
    }
  }
}

/**
 * f16 d, f16 dmin, 12 bytes of 6-bit scales and minima of groups of 32, 128 bytes of 4-bit elements:
 * each run of 32 bytes holds one group in its low halves and the next in its high halves.
 */
function decodeQ4_K(from: Uint8Array, to: Float32Array, blocks: number): void {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 144, out += 256) {
    const d = half[from[at]! | (from[at + 1]! << 8)]!;
    const dmin = half[from[at + 2]! | (from[at + 3]! << 8)]!;
    for (let group = 0; group < 8; group++) {
      const scale = d * scaleOf(from, at + 4, group);
      const m = dmin * minimumOf(from, at + 4, group);
      const shift = (group & 1) * 4;
      const run = at + 16 + (group >> 1) * 32;
      for (let i = 0; i < 32; i++) {
        to[out + group * 32 + i] = scale * ((from[run + i]! >> shift) & 15) - m;
      }
    }
  }
}

/** As Q4_K, with 32 bytes of fifth bits (bit g of byte i for element i of group g) before the rest. */
function decodeQ5_K(from: Uint8Array, to: Float32Array, blocks: number): void {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 176, out += 256) {
    const d = half[from[at]! | (from[at + 1]! << 8)]!;
    const dmin = half[from[at + 2]! | (from[at + 3]! << 8)]!;
    for (let group = 0; group < 8; group++) {
      const scale = d * scaleOf(from, at + 4, group);
      const m = dmin * minimumOf(from, at + 4, group);
      const shift = (group & 1) * 4;
      const run = at + 48 + (group >> 1) * 32;
      for (let i = 0; i < 32; i++) {
        const high = ((from[at + 16 + i]! >> group) & 1) << 4;
        to[out + group * 32 + i] = scale * (((from[run + i]! >> shift) & 15) | high) - m;
      }
    }
  }
}

/**
 * 128 bytes of low four bits, 64 bytes of high two bits, 16 signed scales of groups of 16, f16 d.
 * Each half of the block is four runs of 32: their low bits are the low halves of 64 bytes, then the
 * high halves; their high bits are the four pairs of bits of 32 bytes.
 */
function decodeQ6_K(from: Uint8Array, to: Float32Array, blocks: number): void {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 210, out += 256) {
    const d = half[from[at + 208]! | (from[at + 209]! << 8)]!;
    for (let group = 0; group < 16; group++) {
      const scale = d * ((from[at + 192 + group]! << 24) >> 24);
      const run = (group >> 1) & 3;
      const lowShift = (run >> 1) * 4;
      const highShift = run * 2;
      const lows = at + (group >> 3) * 64 + (run & 1) * 32 + (group & 1) * 16;
      const highs = at + 128 + (group >> 3) * 32 + (group & 1) * 16;
      for (let i = 0; i < 16; i++) {
        const low = (from[lows + i]! >> lowShift) & 15;
        const high = (from[highs + i]! >> highShift) & 3;
        to[out + group * 16 + i] = scale * ((low | (high << 4)) - 32);
      }
    }
  }
}

/** The 6-bit scale of a group of Q4_K or Q5_K: groups 4 to 7 keep their top bits in bytes 0-3. */
function scaleOf(from: Uint8Array, at: number, group: number): number {
  if (group < 4) return from[at + group]! & 63;
  return (from[at + 4 + group]! & 15) | ((from[at + group - 4]! >> 6) << 4);
}

/** The 6-bit minimum of a group of Q4_K or Q5_K: groups 4 to 7 keep their top bits in bytes 4-7. */
function minimumOf(from: Uint8Array, at: number, group: number): number {
  if (group < 4) return from[at + 4 + group]! & 63;
  return (from[at + 4 + group]! >> 4) | ((from[at + group]! >> 6) << 4);
}

/** Four bytes as 32 bits. */
function word(from: Uint8Array, at: number): number {
  return from[at]! | (from[at + 1]! << 8) | (from[at + 2]! << 16) | (from[at + 3]! << 24);
}
