/**
 * A run as seen from a terminal: one progress bar per phase, notes in between.
 *
 * @module
 */

import type { RunEvent, StepEvent } from "./events.ts";
import type { Profile } from "./profile.ts";
import { Progress } from "./progress.ts";

/** Which metrics of a step tell most, and what they are called on screen. */
const TOLD: Readonly<Record<StepEvent["method"], readonly (readonly [string, string])[]>> = {
  grpo: [["reward", "reward"], ["pass@1", "pass1"], ["valid", "tools/validity"]],
  ppo: [["reward", "reward"], ["pass@1", "pass1"], ["explained", "explained_variance"]],
  distill: [["divergence", "divergence"], ["pass@1", "pass1"], ["valid", "tools/validity"]],
  dpo: [["preferred", "rewards/accuracies"], ["pass@1", "pass1"], ["valid", "tools/validity"]],
  sft: [["loss", "loss"]],
};

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
        const shown = TOLD[event.method].flatMap(([label, name]) => {
          const value = event.metrics[name];
          return value === undefined ? [] : [[label, value] as const];
        });
        const total = this.#steps || event.step;
        this.#show(event.method, event.step, total, Object.fromEntries(shown));
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

  /** For `onProgress` of what has metrics, too. */
  readonly measured = (
    what: string,
    done: number,
    total: number,
    metrics: Readonly<Record<string, number>> = {},
  ): void => {
    this.#show(what, done, total, metrics);
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

  /** Ends the line that a bar may have left open; a run that was stopped leaves one. */
  finish(): void {
    this.#bar?.finish();
  }

  /** Same as {@linkcode RunWatcher.finish}. */
  [Symbol.dispose](): void {
    this.finish();
  }
}

/** Kernels that a profile's table names; those after them take next to nothing. */
const KERNELS_SHOWN = 20;

const percent = (share: number) => (100 * share).toFixed(1);

/** A profile as text: the totals, the GPU's time by kernel, and the host's by phase. */
export function renderProfile(profile: Profile): string {
  const { detail, steps, seconds, gpuBusy, hostShare, phases, trace } = profile;
  const kernels = profile.kernels.slice(0, KERNELS_SHOWN);
  const rest = profile.kernels.slice(KERNELS_SHOWN);
  if (rest.length > 0) {
    const calls = rest.reduce((sum, kernel) => sum + kernel.calls, 0);
    const ms = rest.reduce((sum, kernel) => sum + kernel.ms, 0);
    const share = rest.reduce((sum, kernel) => sum + kernel.share, 0);
    kernels.push({ name: `${rest.length} others`, calls, ms, meanUs: 1000 * ms / calls, share });
  }
  const counted = steps === 1 ? "1 step" : steps > 0 ? `${steps} steps` : "all of it";
  const lines = [
    `Profile: ${counted} in ${seconds.toFixed(2)} s, GPU busy ${percent(gpuBusy)} %, ` +
    `host ${percent(hostShare)} %`,
    "",
    ...columns([
      ["on the GPU", "calls", "ms", "mean us", "% of GPU"],
      ...kernels.map(({ name, calls, ms, meanUs, share }) => [
        ...[name, String(calls), ms.toFixed(1)],
        ...[meanUs.toFixed(1), percent(share)],
      ]),
    ]),
    "",
    ...columns([
      ["on the host", "calls", "ms", steps > 0 ? "% of steps" : "% of all"],
      ...phases.map(({ name, calls, ms, share }) => [
        ...[name, String(calls), ms.toFixed(1)],
        share > 0 ? percent(share) : "-",
      ]),
    ]),
    "",
  ];
  if (detail === "kernels") {
    lines.push(
      "To be timed, each dispatch got a pass of its own; that costs tens of microseconds in software,",
      "which count as the host's. --profile=submits measures how busy the GPU is without it.",
    );
  }
  if (trace) {
    const note = trace.dropped > 0 ? `; the last ${trace.dropped} events did not fit` : "";
    lines.push(`Trace: ${trace.path} (for ui.perfetto.dev or chrome://tracing${note})`);
  }
  return lines.join("\n").trimEnd();
}

/** Rows as lines: names to the left, numbers to the right. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  ")
  );
}
