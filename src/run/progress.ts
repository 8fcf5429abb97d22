/**
 * A progress bar on stderr, or plain lines where there is no terminal.
 *
 * @module
 */

/** Where progress is shown. */
export interface ProgressOutput {
  /** Whether a line can be rewritten. */
  readonly isTerminal: boolean;
  /** Whether to use colours. */
  readonly color: boolean;
  /** Characters per line, asked for at each drawing. */
  columns(): number;
  /** Writes text as it is. */
  write(text: string): void;
}

/** What progress is shown of. */
export interface ProgressOptions {
  /** What is counted, in one word: "grpo". */
  readonly label: string;
  /** Steps in all. */
  readonly total: number;
  /** Steps done before, in an earlier process. */
  readonly start?: number;
  /** Shows nothing. */
  readonly quiet?: boolean;
  /** Standard error by default. */
  readonly output?: ProgressOutput;
  /** Milliseconds that never run backwards. */
  readonly now?: () => number;
}

/** Milliseconds between two drawings, on a terminal and elsewhere. */
const redrawAfter = { terminal: 100, plain: 10_000 };
/** Milliseconds over which a pace is measured at least: steps may be done in bursts. */
const shortestSample = 500;
const barWidth = 20;

/** Progress through a known number of steps, with rate and remaining time. */
export class Progress implements Disposable {
  readonly #label: string;
  readonly #total: number;
  readonly #output: ProgressOutput | null;
  readonly #now: () => number;
  #done: number;
  /** Steps that the pace knows of. */
  #timed: number;
  /** Whether something has changed since the last drawing. */
  #stale = true;
  #lastStepAt: number;
  #lastDrawnAt = -Infinity;
  /** Smoothed, since the first step compiles pipelines and later ones vary. */
  #secondsPerStep: number | undefined;
  #metrics: Readonly<Record<string, number | string>> = {};
  #lineOpen = false;

  /** Starts the clock; draws nothing yet. */
  constructor(options: ProgressOptions) {
    const { label, total, start = 0, quiet = false, output, now } = options;
    this.#label = label;
    this.#total = total;
    this.#done = start;
    this.#timed = start;
    this.#output = quiet ? null : output ?? standardError();
    this.#now = now ?? (() => performance.now());
    this.#lastStepAt = this.#now();
  }

  /** `done` steps are done; `metrics` are shown in their order as far as they fit. */
  update(done: number, metrics: Readonly<Record<string, number | string>> = {}): void {
    const now = this.#now();
    if (done > this.#timed && now - this.#lastStepAt >= shortestSample) {
      const seconds = (now - this.#lastStepAt) / 1000 / (done - this.#timed);
      const before = this.#secondsPerStep;
      this.#secondsPerStep = before === undefined ? seconds : 0.8 * before + 0.2 * seconds;
      this.#lastStepAt = now;
      this.#timed = done;
    }
    this.#done = done;
    this.#metrics = metrics;
    this.#stale = true;
    const pause = this.#output?.isTerminal ? redrawAfter.terminal : redrawAfter.plain;
    if (now - this.#lastDrawnAt >= pause) this.#draw();
  }

  /** Prints a line of text without disturbing the bar. */
  note(text: string): void {
    if (this.#output === null) return;
    this.#output.write(`${this.#lineOpen ? "\r\x1b[K" : ""}${text}\n`);
    if (this.#lineOpen) this.#draw();
  }

  /** Draws the last state for good and ends the line. */
  finish(): void {
    if (this.#output === null) return;
    if (this.#stale && (this.#lastDrawnAt > -Infinity || this.#done > 0)) this.#draw();
    if (this.#lineOpen) this.#output.write("\n");
    this.#lineOpen = false;
  }

  /** Same as {@linkcode Progress.finish}. */
  [Symbol.dispose](): void {
    this.finish();
  }

  #draw(): void {
    const output = this.#output;
    if (output === null) return;
    this.#lastDrawnAt = this.#now();
    this.#stale = false;
    const share = this.#total === 0 ? 1 : Math.min(1, this.#done / this.#total);
    const facts = [
      `${Math.floor(share * 100)}%`.padStart(4),
      `${this.#done}/${this.#total}`,
      ...this.#pace(),
      ...Object.entries(this.#metrics).map(([name, value]) => `${name} ${short(value)}`),
    ];
    if (!output.isTerminal) {
      output.write(`${this.#label} ${facts.join("  ").trim()}\n`);
      return;
    }
    const filled = Math.round(share * barWidth);
    const bar = "█".repeat(filled) + "░".repeat(barWidth - filled);
    const painted = output.color ? `\x1b[32m${bar}\x1b[0m` : bar;
    let line = `${this.#label} ${painted}`;
    let room = output.columns() - 1 - this.#label.length - 1 - barWidth;
    for (const fact of facts) {
      room -= fact.length + 2;
      // A line that wraps could not be rewritten.
      if (room < 0) break;
      line += `  ${fact}`;
    }
    output.write(`\r${line}\x1b[K`);
    this.#lineOpen = true;
  }

  #pace(): string[] {
    const seconds = this.#secondsPerStep;
    if (seconds === undefined) return [];
    const rate = seconds > 1 ? `${seconds.toFixed(1)} s/step` : `${short(1 / seconds)} steps/s`;
    const left = Math.max(0, this.#total - this.#done) * seconds;
    return left === 0 ? [rate] : [rate, `ETA ${duration(left)}`];
  }
}

/** Seconds in words: `9s`, `1m15s`, `2h05m`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}s`;
  const two = (value: number) => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h${two(Math.floor(whole / 60) % 60)}m`;
}

function short(value: number | string): string {
  if (typeof value === "string" || Number.isInteger(value)) return String(value);
  return value.toPrecision(3);
}

function standardError(): ProgressOutput {
  const encoder = new TextEncoder();
  const isTerminal = Deno.stderr.isTerminal() && Deno.env.get("TERM") !== "dumb";
  return {
    isTerminal,
    color: isTerminal && !Deno.noColor,
    columns() {
      try {
        return Deno.consoleSize().columns;
      } catch {
        return 80;
      }
    },
    write(text) {
      const bytes = encoder.encode(text);
      for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
    },
  };
}
