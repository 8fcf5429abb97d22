/**
 * A file on disk that is read piece by piece.
 *
 * @module
 */

import { CheckpointError } from "./safetensors.ts";
import type { ByteSource } from "./source.ts";

/**
 * Opens a file as a source of bytes; nothing is read yet.
 *
 * @throws {CheckpointError} if it can't be opened or is not a file; reading throws one if the file
 * has become shorter
 */
export async function fileSource(path: string): Promise<ByteSource> {
  let file: Deno.FsFile | undefined;
  let size: number;
  try {
    file = await Deno.open(path, { read: true });
    const info = await file.stat();
    if (info.isDirectory) throw new Error("it is a folder");
    size = info.size;
  } catch (error) {
    file?.close();
    throw unreadable(path, error);
  }

  const readNow = async (offset: number, length: number) => {
    if (!(offset >= 0 && length >= 0 && offset + length <= size)) {
      throw new Error(`bytes ${offset} to ${offset + length} of ${size} were asked for`);
    }
    const bytes = new Uint8Array(length);
    await file.seek(offset, Deno.SeekMode.Start);
    for (let done = 0; done < length;) {
      const count = await file.read(bytes.subarray(done));
      if (count === null) {
        throw new Error(
          `the file ends at byte ${offset + done}, it had ${size} when it was opened. ` +
            "Something else writes to it: try again when that is done",
        );
      }
      done += count;
    }
    return bytes;
  };
  // Seek and read are two steps: reads that overlap would move the position under each other.
  let last: Promise<unknown> = Promise.resolve();
  return {
    label: path,
    size,
    read(offset, length) {
      const bytes = last.then(() => readNow(offset, length));
      last = bytes.catch(() => {});
      return bytes.catch((error) => {
        throw unreadable(path, error);
      });
    },
    [Symbol.dispose]: () => file.close(),
  };
}

function unreadable(path: string, error: unknown): CheckpointError {
  const reason = (error as Error).message;
  return new CheckpointError(`Cannot read "${path}": ${reason}`, { cause: error });
}
