/**
 * Files of text.
 *
 * @module
 */

import { CheckpointError } from "./safetensors.ts";

/** What a string of the engine may have in UTF-16 units, and so roughly in bytes. */
const MOST_BYTES = 2 ** 29 - 24;

/**
 * Reads a text in UTF-8, without a byte order mark. What is no UTF-8 is an error: decoded all the
 * same, a file in another encoding would lose letters, and a packed one would be noise.
 *
 * @param source what messages call it
 * @throws {CheckpointError} if it cannot be read, is no UTF-8, or is too long for a string
 */
export async function readTextFile(path: string, source: string = path): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await Deno.readFile(path);
  } catch (error) {
    const { message } = error as Error;
    throw new CheckpointError(`Cannot read "${source}": ${message}. Check the path`, {
      cause: error,
    });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    const problem = bytes.length > MOST_BYTES
      ? `it has ${Math.ceil(bytes.length / 2 ** 20)} MiB, and a text may have ` +
        `${Math.ceil(MOST_BYTES / 2 ** 20)}. Split it, or convert it to Parquet`
      : "it is not text in UTF-8. Unpack it if it is packed, or convert it with iconv";
    throw new CheckpointError(`Cannot read "${source}": ${problem}`, { cause: error });
  }
}
