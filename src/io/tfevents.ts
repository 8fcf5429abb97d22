/**
 * TensorBoard's event files: records in the framing of TFRecord, each of which holds an `Event` of
 * protocol buffers. Of their fields here are those of scalars:
 *
 * ```
 * record   u64 length | u32 checksum of the length | data | u32 checksum of the data
 * Event    1 wall_time: double | 2 step: int64 | 3 file_version: string | 5 summary: Summary |
 *          7 session_log: SessionLog
 * Summary  1 value: Value, repeated
 * Value    1 tag: string | 2 simple_value: float
 * SessionLog  1 status: enum, of which 1 is START
 * ```
 *
 * Source: `tensorflow/core/lib/io/record_writer.cc`, `tensorboard/compat/proto/event.proto` and
 * `summary.proto`.
 *
 * @module
 */

/** Numbers by name at one moment. */
export interface Scalars {
  /** Seconds since 1970. */
  readonly time: number;
  /** A whole number from 0. */
  readonly step: number;
  /** Kept as f32. */
  readonly values: readonly (readonly [tag: string, value: number])[];
}

/** The record that every file begins with. @param time seconds since 1970 */
export function versionRecord(time: number): Uint8Array<ArrayBuffer> {
  return record([...double(1, time), ...text(3, "brain.Event:2")]);
}

/**
 * The record that a session begins with: who has read of the same step or a later one before drops
 * that. @param time seconds since 1970
 */
export function startRecord(time: number, step: number): Uint8Array<ArrayBuffer> {
  return record([...double(1, time), ...int64(2, step), ...message(7, int64(1, 1))]);
}

/** A record of scalars. */
export function scalarsRecord({ time, step, values }: Scalars): Uint8Array<ArrayBuffer> {
  const summary = values.flatMap(([tag, value]) =>
    message(1, [...text(1, tag), ...float(2, value)])
  );
  return record([...double(1, time), ...int64(2, step), ...message(5, summary)]);
}

function record(data: readonly number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(data.length + 16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(crc32c(bytes.subarray(0, 8))), true);
  bytes.set(data, 12);
  view.setUint32(12 + data.length, masked(crc32c(bytes.subarray(12, 12 + data.length))), true);
  return bytes;
}

/** So that the checksum of data that holds checksums is none of these again. */
function masked(crc: number): number {
  return ((crc >>> 15 | crc << 17) + 0xa282ead8) >>> 0;
}

/** CRC of Castagnoli's polynomial, reflected, for each byte. */
const CRC32C = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? byte >>> 1 ^ 0x82f63b78 : byte >>> 1;
  return byte;
});

function crc32c(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) crc = CRC32C[(crc ^ byte) & 0xff]! ^ crc >>> 8;
  return ~crc >>> 0;
}

// How protocol buffers write a field: the key says its number, and how long the value is.
const [VARINT, BITS64, LENGTH, BITS32] = [0, 1, 2, 5];

/** Field numbers here are below 16: a key is a byte. */
function key(field: number, type: number): number[] {
  return [field << 3 | type];
}

function varint(value: number): number[] {
  const bytes = [];
  // Not by shifts, which are of 32 bits.
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push(value % 128 | 128);
  return [...bytes, value];
}

/** A whole number from 0, which is left out if it is 0. */
function int64(field: number, value: number): number[] {
  return value === 0 ? [] : [...key(field, VARINT), ...varint(value)];
}

function double(field: number, value: number): number[] {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value, true);
  return [...key(field, BITS64), ...bytes];
}

function float(field: number, value: number): number[] {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return [...key(field, BITS32), ...bytes];
}

function text(field: number, value: string): number[] {
  return message(field, [...new TextEncoder().encode(value)]);
}

function message(field: number, bytes: readonly number[]): number[] {
  return [...key(field, LENGTH), ...varint(bytes.length), ...bytes];
}
