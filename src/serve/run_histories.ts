/**
 * Histories of the runs that somebody looks at: each is read once, and then what is new in it.
 *
 * @module
 */

import { join } from "@std/path";
import { setImmediate } from "node:timers/promises";
import { fileStart, readTail, type TailPosition } from "../io/tail.ts";
import { isEvent, RunHistory } from "../run/report/history.ts";
import { eventId } from "./event_feed.ts";

/** How many are kept; one of 10,000 steps takes about 15 MB. */
const KEPT = 16;

/** A run's history as far as it was read. */
export interface ReadHistory {
  readonly history: RunHistory;
  /** Id of the last event in it; null if there is none. */
  readonly last: string | null;
}

/** Histories by the folder of the run. */
export class RunHistories {
  /** The one that was asked for last comes last. */
  readonly #kept = new Map<string, HistoryReader>();

  /** The history of a run up to now. */
  async read(folder: string): Promise<ReadHistory> {
    const reader = this.#kept.get(folder) ?? new HistoryReader(join(folder, "events.jsonl"));
    this.#kept.delete(folder);
    this.#kept.set(folder, reader);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > KEPT) this.#kept.delete(oldest!);
    return await reader.read();
  }
}

class HistoryReader {
  readonly #path: string;
  #history = new RunHistory();
  #position: TailPosition = fileStart;
  #last: string | null = null;
  #reading: Promise<ReadHistory> | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  /** Reads on; those who ask meanwhile get the same. */
  read(): Promise<ReadHistory> {
    return this.#reading ??= this.#readOn().finally(() => this.#reading = null);
  }

  async #readOn(): Promise<ReadHistory> {
    for (let more = true; more;) {
      const { lines, position, rewound, ...rest } = readTail(this.#path, this.#position);
      if (rewound) [this.#history, this.#last] = [new RunHistory(), null];
      const decoder = new TextDecoder();
      for (const { bytes } of lines) {
        const event = parse(decoder.decode(bytes));
        if (isEvent(event)) this.#history.add(event);
      }
      this.#position = position;
      if (lines.length > 0) this.#last = eventId(lines.at(-1)!);
      more = rest.more;
      // Between the portions of a long file others get their answers.
      if (more) await setImmediate();
    }
    return { history: this.#history, last: this.#last };
  }
}

/** A line that is not JSON is none of an event, and the run's state says that it is damaged. */
function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
