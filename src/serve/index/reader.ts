/**
 * Brings what was appended to a run's files into the index.
 *
 * @module
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { join } from "@std/path";
import * as v from "valibot";
import { fileStart, readTail, type TailLine, type TailPosition } from "../../io/tail.ts";
import { isRunEvent, type RunEvent } from "../../run/events.ts";
import { measuresOf } from "../../run/measures.ts";
import { episodeSchema } from "../../run/report/collect.ts";

/** What the index keeps of an episode; a line without it is none. */
const indexedSchema = v.pick(episodeSchema, [
  ...["step", "group", "sample", "task", "reward", "correct"] as const,
]);

/** What the new lines of `events.jsonl` say of the run as a whole. */
export interface EventNews {
  /** The last of them; undefined if there is none. */
  readonly last: RunEvent | undefined;
  /** Steps of the whole run, where they say so. */
  readonly steps: number | undefined;
  /** What is wrong with the file; null if nothing is. */
  readonly damage: string | null;
  /** Whether what was read before no longer holds. */
  readonly rewound: boolean;
  /** Whether there is more to read. */
  readonly more: boolean;
}

/** Reads the files of runs from where it stopped. */
export class RunReader {
  readonly #position: StatementSync;
  readonly #keep: StatementSync;
  readonly #metric: StatementSync;
  readonly #episode: StatementSync;
  readonly #forgetMetrics: StatementSync;
  readonly #forgetEpisodes: StatementSync;

  constructor(database: DatabaseSync) {
    this.#position = database.prepare(
      `SELECT position AS "offset", lines, inode, witness FROM tails WHERE run = ? AND name = ?`,
    );
    this.#keep = database.prepare("INSERT OR REPLACE INTO tails VALUES (?, ?, ?, ?, ?, ?)");
    this.#metric = database.prepare("INSERT OR REPLACE INTO metrics VALUES (?, ?, ?, ?, ?)");
    this.#episode = database.prepare(
      "INSERT OR REPLACE INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    this.#forgetMetrics = database.prepare("DELETE FROM metrics WHERE run = ?");
    this.#forgetEpisodes = database.prepare("DELETE FROM episodes WHERE run = ?");
  }

  /** Reads on in `events.jsonl`. @throws {CheckpointError} if it cannot be read */
  events(run: string, folder: string): EventNews {
    const { lines, rewound, more } = this.#read(run, folder, "events.jsonl");
    if (rewound) this.#forgetMetrics.run(run);
    let last: RunEvent | undefined;
    let steps: number | undefined;
    let damage: string | null = null;
    for (const line of lines) {
      const event = parse(line);
      if (!isRunEvent(event)) {
        const lack = event === undefined ? "JSON" : "an event";
        damage ??= `events.jsonl: line ${line.number} is not ${lack}`;
        continue;
      }
      last = event;
      if (event.type === "run-start") steps = event.steps;
      for (const [name, value] of measuresOf(event)) {
        if (!("step" in event)) continue;
        this.#metric.run(run, name, event.step, Date.parse(event.time), value);
      }
    }
    return { last, steps, damage, rewound, more };
  }

  /**
   * Reads on in `episodes.jsonl`; lines that are no episodes are left out.
   *
   * @returns whether there is more to read
   * @throws {CheckpointError} if it cannot be read
   */
  episodes(run: string, folder: string): boolean {
    const { lines, rewound, more } = this.#read(run, folder, "episodes.jsonl");
    if (rewound) this.#forgetEpisodes.run(run);
    for (const line of lines) {
      const episode = v.safeParse(indexedSchema, parse(line));
      if (!episode.success) continue;
      const { step, group, sample, task, reward, correct } = episode.output;
      const place = [run, line.number, line.offset, line.bytes.length] as const;
      const worth = Number.isNaN(reward) ? null : reward;
      this.#episode.run(...place, step, group, sample, task, worth, correct ? 1 : 0);
    }
    return more;
  }

  #read(run: string, folder: string, name: string) {
    const kept = this.#position.get(run, name) as TailPosition | undefined;
    const read = readTail(join(folder, name), kept ?? fileStart);
    const { offset, lines, inode, witness } = read.position;
    if (offset !== kept?.offset || read.rewound) {
      this.#keep.run(run, name, offset, lines, inode, witness);
    }
    return read;
  }
}

/** The value of a line; undefined if it is not JSON. */
function parse(line: TailLine): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(line.bytes));
  } catch {
    return undefined;
  }
}
