/**
 * One work done by several contenders in turn, so that whatever else the machine does meanwhile
 * meets all of them.
 *
 * @module
 */

import type { BenchRow, Skipped } from "../report.ts";
import { median, spread } from "../statistics.ts";
import { type Command, Contender, ContenderError, type TimeLimits } from "./contender.ts";
import { operationCost } from "./operations.ts";
import { decodeLengths, parseWork, type Result, stepSizes } from "./protocol.ts";

/** A contender; a text instead of a command says why there is none. */
export interface Entry {
  readonly name: string;
  readonly command: Command | string;
}

/** How `compete` drives its contenders. */
export interface CompeteOptions {
  readonly limits: TimeLimits;
  /** Repetitions of a fast contender. */
  readonly repetitions: number;
  /** A contender that has run this long runs no more, in ms; each runs twice at least. */
  readonly budgetMs: number;
  readonly onProgress?: (text: string) => void;
}

/** Relative difference of losses and checksums that counts as the same value. */
const TOLERANCE = 1e-3;
/** Tokens that must be the same; later ones may differ after a near tie that rounding decides. */
const SAME_TOKENS = 16;
/** Repetitions that a median needs at least. */
const FEWEST = 2;

/** Repetitions shorter than this, in ms, begin a turn with one that does not count. */
const SHORT_MS = 500;

interface Racer {
  readonly name: string;
  readonly contender: Contender;
  /** The repetitions that count. */
  readonly results: Result[];
  /** What it computed, before its repetitions and in all of them. */
  readonly values: Result["value"][];
  spentMs: number;
}

/**
 * Starts every contender, runs them A B A B, and compares what they computed with the first's.
 *
 * Whatever goes wrong with one contender, a value that disagrees included, is a reason to skip it.
 *
 * @param entries Mentor, if it takes part, is called "mentor" and comes first
 */
export async function compete(
  work: string,
  entries: readonly Entry[],
  { limits, repetitions, budgetMs, onProgress = () => {} }: CompeteOptions,
): Promise<{ rows: BenchRow[]; skipped: Skipped[] }> {
  const skipped: Skipped[] = [];
  const started: Contender[] = [];
  let racers: Racer[] = [];
  const skip = (contender: string, reason: string) => {
    skipped.push({ work, contender, reason });
    onProgress(`${work}: ${contender} skipped: ${reason}`);
  };
  const drop = (racer: Racer, reason: string) => {
    skip(racer.name, reason);
    racers = racers.filter((other) => other !== racer);
  };
  const dropDisagreeing = () => {
    // A NaN differs from itself, and is nobody's value.
    const first = racers.find((racer) => !disagreement(racer, racer)) ?? racers[0];
    for (const racer of racers) {
      const difference = disagreement(racer, first!);
      if (difference) drop(racer, difference);
    }
  };
  try {
    for (const { name, command } of entries) {
      if (typeof command === "string") {
        skip(name, command);
        continue;
      }
      onProgress(`${work}: starting ${name}`);
      try {
        const contender = await Contender.start(command, limits);
        started.push(contender);
        racers.push({ name, contender, results: [], values: [contender.value], spentMs: 0 });
      } catch (error) {
        skip(name, reasonOf(error));
      }
    }
    dropDisagreeing();
    onProgress(`${work}: measuring`);
    for (let round = 0; round < repetitions; round++) {
      for (const racer of racers) {
        if (round >= FEWEST && racer.spentMs >= budgetMs) continue;
        try {
          await takeTurn(racer);
        } catch (error) {
          drop(racer, reasonOf(error));
        }
      }
    }
    dropDisagreeing();
  } finally {
    await Promise.all(started.map((contender) => contender.close()));
  }
  return { rows: summarize(work, racers), skipped };
}

/** The message of what may happen to a contender; everything else is a fault of this program. */
function reasonOf(error: unknown): string {
  if (error instanceof ContenderError) return error.message;
  throw error;
}

/**
 * One repetition that counts. A process that idled while others ran finds cold caches: PyTorch's
 * products took 1.5 to 2 times as long in the first 100 ms (two cores, 1024 x 1024). A short
 * repetition is therefore made twice.
 */
async function takeTurn(racer: Racer): Promise<void> {
  const run = async () => {
    const begin = performance.now();
    const result = await racer.contender.run();
    racer.values.push(result.value);
    const tookMs = performance.now() - begin;
    racer.spentMs += tookMs;
    return { result, tookMs };
  };
  let last = await run();
  if (last.tookMs < SHORT_MS) last = await run();
  racer.results.push(last.result);
}

/** How a contender's values differ from the first contender's, or null if they agree. */
function disagreement({ values }: Racer, first: Racer): string | null {
  for (const [i, value] of values.entries()) {
    if (i >= first.values.length || agree(value, first.values[i]!)) continue;
    const where = i === 0 ? "before its repetitions" : `in repetition ${i}`;
    const show = (value: Result["value"]) => String(value).slice(0, 60);
    return `disagrees ${where}: ${show(value)}, where ${first.name} has ${show(first.values[i]!)}`;
  }
  return null;
}

function agree(a: Result["value"], b: Result["value"]): boolean {
  if (typeof a === "number" && typeof b === "number") {
    return Math.abs(a - b) <= TOLERANCE * Math.max(Math.abs(a), Math.abs(b));
  }
  if (typeof a === "number" || typeof b === "number" || a.length !== b.length) return false;
  return a.slice(0, SAME_TOKENS).every((token, i) => token === b[i]);
}

function summarize(work: string, racers: readonly Racer[]): BenchRow[] {
  const times = racers.map(({ results }) => results.map(({ ms }) => ms));
  const mentor = racers.findIndex(({ name }) => name === "mentor");
  return racers.map(({ name, results }, i) => {
    const medianMs = median(times[i]!);
    const cpuMs = median(results.map(({ cpuMs }) => cpuMs));
    return {
      work,
      contender: name,
      medianMs,
      spread: spread(times[i]!),
      cpuMs: Number.isFinite(cpuMs) ? cpuMs : null,
      ...amount(work, medianMs),
      ratioToMentor: mentor < 0 ? null : medianMs / median(times[mentor]!),
      limit: null,
    };
  });
}

/** The sizes of a work, and what is done per second if it takes `ms`. */
function amount(work: string, ms: number): Pick<BenchRow, "shape" | "rate" | "unit"> {
  const parsed = parseWork(work);
  switch (parsed.kind) {
    case "matmul": {
      const { n } = parsed;
      return { shape: `${n} x ${n} x ${n}, f32`, rate: 2 * n ** 3 / ms / 1e6, unit: "GFLOP/s" };
    }
    case "step": {
      const { batch, length } = stepSizes;
      const rate = batch * length / ms * 1000;
      return { shape: `${batch} x ${length} tokens`, rate, unit: "tokens/s" };
    }
    case "decode": {
      const { prompt, steps } = decodeLengths;
      const rate = parsed.batch * steps / ms * 1000;
      return { shape: `${parsed.batch} x (${prompt} + ${steps}) tokens`, rate, unit: "tokens/s" };
    }
    default: {
      const { shape, unit, amount } = operationCost(parsed.kind);
      return { shape, rate: amount / ms / 1e6, unit };
    }
  }
}
