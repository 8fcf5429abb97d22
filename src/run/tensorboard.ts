/**
 * The curves of a run for TensorBoard, while it goes on: `tensorboard --logdir runs` shows them.
 *
 * `events.jsonl` remains the truth. Whenever a process takes the run on, the event file is made anew
 * of what holds of that, under a later name, and the one before is emptied. A TensorBoard that had
 * read that one reads on in the new one, whose start makes it drop what it has; of a file that is
 * removed, its loader without the data server (2.21) would wait for more for ever.
 *
 * @module
 */

import { join } from "@std/path";
import { writeError } from "../io/checkpoint.ts";
import { scalarsRecord, startRecord, versionRecord } from "../io/tfevents.ts";
import type { RunEvent } from "./events.ts";
import { measuresOf } from "./measures.ts";

/** Names of files that this program wrote; TensorBoard reads those with `tfevents` in them. */
const OWN_FILE = /^events\.out\.tfevents\.\d+\.mentor$/;

/** Writes the event file of a run. */
export class TensorBoardLog implements Disposable {
  readonly #path: string;
  readonly #onFailure: (message: string) => void;
  #file: Deno.FsFile | null = null;
  /** Bytes of whole records. */
  #length = 0;

  /**
   * Begins a file with what has happened.
   *
   * @param onFailure told once if the file cannot be written, which ends it
   */
  constructor(
    folder: string,
    past: readonly RunEvent[],
    onFailure: (message: string) => void,
    now: () => number = Date.now,
  ) {
    const time = now();
    this.#path = join(folder, `events.out.tfevents.${time}.mentor`);
    this.#onFailure = onFailure;
    this.#attempt(() => {
      Deno.mkdirSync(folder, { recursive: true });
      const before = [...Deno.readDirSync(folder)].filter(({ name }) => OWN_FILE.test(name));
      this.#file = Deno.openSync(this.#path, { write: true, createNew: true });
      this.#write(versionRecord(time / 1000));
      this.#write(startRecord(time / 1000, 0));
      past.forEach((event) => this.#append(event));
      for (const { name } of before) Deno.truncateSync(join(folder, name));
    });
  }

  /** Adds the numbers of an event. */
  append(event: RunEvent): void {
    this.#attempt(() => this.#append(event));
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file?.close();
    this.#file = null;
  }

  #append(event: RunEvent): void {
    const values = measuresOf(event);
    if (!("step" in event) || values.length === 0) return;
    this.#write(scalarsRecord({ time: Date.parse(event.time) / 1000, step: event.step, values }));
  }

  #write(bytes: Uint8Array): void {
    if (!this.#file) return;
    for (let written = 0; written < bytes.length;) {
      written += this.#file.writeSync(bytes.subarray(written));
    }
    this.#length += bytes.length;
  }

  /** Does without the file from then on if something goes wrong with it: the run is worth more. */
  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      const { message } = writeError(this.#path, error);
      try {
        this.#file?.truncateSync(this.#length);
      } catch {
        // A reader leaves out a record that is torn.
      }
      this[Symbol.dispose]();
      this.#onFailure(`${message}. The run goes on without curves for TensorBoard`);
    }
  }
}
