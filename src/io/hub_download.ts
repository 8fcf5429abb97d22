/**
 * Downloads one file from a hub: goes on where an earlier download stopped, and keeps nothing that
 * is not what was announced.
 *
 * @module
 */

import { createHash, type Hash } from "node:crypto";
import { type HubAnswer, type HubClient, HubError, type RemoteFile } from "./hub_client.ts";

/**
 * Downloads `file` to `path`, where it appears whole or not at all; the part that is there so far
 * lies in `path` + `.incomplete`. To be called by one at a time.
 *
 * @param onBytes is told how many bytes are there
 * @throws {HubError} if the server can't be reached or sends something else than it announced
 */
export async function download(
  client: HubClient,
  file: RemoteFile,
  path: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const incomplete = `${path}.incomplete`;
  {
    using part = await Part.open(incomplete);
    if (part.bytes > file.size) await part.restart();
    const resumed = part.bytes > 0;
    await fill(client, file, part, onBytes);
    if (resumed && !part.matches(file.etag)) {
      // The part from the earlier download may be to blame.
      await part.restart();
      await fill(client, file, part, onBytes);
    }
    if (!part.matches(file.etag)) await discard(file, part, "its SHA-256 is not the announced one");
    await part.sync();
  }
  await Deno.rename(incomplete, path);
}

/** Fetches what is missing of a part, in as many tries as that takes while each gets further. */
async function fill(
  client: HubClient,
  file: RemoteFile,
  part: Part,
  onBytes: (bytes: number) => void,
): Promise<void> {
  let furthest = part.bytes;
  // A server without ranges starts over each time: only bytes never had before are progress.
  const progressed = () => {
    const further = part.bytes > furthest;
    furthest = Math.max(furthest, part.bytes);
    return further;
  };
  await client.retrying(async () => {
    if (part.bytes === file.size) return;
    await using answer = await client.content(file, part.bytes);
    await accept(client, file, part, answer);
    for await (const chunk of answer.chunks) {
      if (part.bytes + chunk.length > file.size) {
        await discard(file, part, `the server sends more than the ${file.size} bytes announced`);
      }
      await part.append(chunk);
      onBytes(part.bytes);
    }
    if (part.bytes < file.size) {
      throw client.interrupted(`${file.name} ended at byte ${part.bytes} of ${file.size}`);
    }
  }, progressed);
}

/** Checks that an answer continues the part, and makes the part fit one that starts over. */
async function accept(
  client: HubClient,
  file: RemoteFile,
  part: Part,
  { status, headers }: HubAnswer,
): Promise<void> {
  const range = headers.get("content-range")?.match(/^bytes (?:(\d+)-\d+|\*)\/(\d+)$/);
  const announced = status === 200 ? headers.get("content-length") : range?.[2];
  if (status === 416 || (announced != null && Number(announced) !== file.size)) {
    const actual = announced ?? part.bytes;
    await discard(file, part, `${file.size} bytes were announced, the server has ${actual}`);
  }
  if (status === 200 && part.bytes > 0) await part.restart();
  if (status === 206 && Number(range?.[1]) !== part.bytes) {
    throw client.interrupted(`the answer starts at byte ${range?.[1]}, not at ${part.bytes}`);
  }
}

async function discard(file: RemoteFile, part: Part, fault: string): Promise<never> {
  await part.restart();
  throw new HubError(
    "corrupt",
    `Cannot use ${file.name} from ${file.url}: ${fault}. Nothing of it was kept: try again, and ` +
      "if it stays so, tell those who run the server",
  );
}

/** The part of a file that is on disk, with its hash. */
class Part implements Disposable {
  readonly #file: Deno.FsFile;
  #hash: Hash = createHash("sha256");
  #bytes = 0;

  private constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  static async open(path: string): Promise<Part> {
    const file = await Deno.open(path, { read: true, write: true, create: true });
    const part = new Part(file);
    const { size } = await file.stat();
    const buffer = new Uint8Array(1 << 20);
    while (part.#bytes < size) {
      const count = await file.read(buffer);
      if (count === null) break;
      part.#count(buffer.subarray(0, count));
    }
    return part;
  }

  get bytes(): number {
    return this.#bytes;
  }

  async append(chunk: Uint8Array): Promise<void> {
    for (let written = 0; written < chunk.length;) {
      written += await this.#file.write(chunk.subarray(written));
    }
    this.#count(chunk);
  }

  async restart(): Promise<void> {
    await this.#file.truncate(0);
    await this.#file.seek(0, Deno.SeekMode.Start);
    this.#hash = createHash("sha256");
    this.#bytes = 0;
  }

  /** Whether the hash is `etag`, which is a SHA-256 for large files only. */
  matches(etag: string): boolean {
    return !/^[0-9a-f]{64}$/.test(etag) || this.#hash.copy().digest("hex") === etag;
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }

  #count(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    this.#bytes += chunk.length;
  }
}
