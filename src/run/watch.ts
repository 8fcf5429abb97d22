/**
 * A run as seen from a terminal: one progress bar per phase, notes in between.
 *
 * @module
 */

import type { RunEvent } from "./events.ts";
import { Progress } from "./progress.ts";

/** Shows a run's events and progress on stderr. */
export class RunWatcher implements Disposable {
  readonly #quiet: boolean;
  readonly #write: (line: string) => void;
  #bar: Progress | null = null;
  #phase = "";
  #steps = 0;

  constructor({ quiet, write }: { quiet: boolean; write: (line: string) => void }) {
    this.#quiet = quiet;
    this.#write = write;
  }

  /** For `onEvent`. */
  readonly event = (event: RunEvent): void => {
    switch (event.type) {
      case "run-start":
        this.#steps = event.steps;
        this.#note(`adapter: ${event.adapter}`);
        break;
      case "step": {
        const { reward, pass1, loss } = event.metrics;
        const shown: Record<string, number> = reward === undefined
          ? { loss: loss! }
          : { reward, "pass@1": pass1!, valid: event.metrics["tools/validity"]! };
        this.#show(event.method, event.step, this.#steps || event.step, shown);
        break;
      }
      case "warning":
        this.#note(event.message);
        break;
    }
  };

  /** For `onProgress`. */
  readonly progress = (what: string, done: number, total: number): void => {
    this.#show(what, done, total, {});
  };

  /** A run that goes on starts no run-start event; its number of steps comes from its config. */
  resumed(steps: number): void {
    this.#steps = steps;
  }

  #show(
    phase: string,
    done: number,
    total: number,
    metrics: Readonly<Record<string, number | string>>,
  ): void {
    if (phase !== this.#phase) {
      this.#bar?.finish();
      this.#phase = phase;
      // The clock starts with the first step done: that one compiled the pipelines.
      this.#bar = new Progress({ label: phase, total, start: done, quiet: this.#quiet });
    }
    this.#bar!.update(done, metrics);
    if (done === total) {
      this.#bar!.finish();
      this.#bar = null;
      this.#phase = "";
    }
  }

  #note(text: string): void {
    if (this.#bar) this.#bar.note(text);
    else if (!this.#quiet) this.#write(text);
  }

  /** Ends the line that a bar may have left open. */
  [Symbol.dispose](): void {
    this.#bar?.finish();
  }
}
