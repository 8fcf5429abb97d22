/**
 * Real checkpoints in GGUF, read by Mentor and by llama.cpp: whether both compute the same, and how
 * fast each speaks.
 *
 * @module
 */

import { basename, fromFileUrl } from "@std/path";
import { type Command, Contender, ContenderError } from "./peers/contender.ts";
import { question } from "./peers/speech.ts";
import { renderTable, type Skipped } from "./report.ts";
import { median } from "./statistics.ts";

/** What to measure. */
export interface CheckpointsOptions {
  /** GGUF files. */
  readonly files: readonly string[];
  /** Timed repetitions of each contender. */
  readonly repetitions?: number;
  /** Hears what is being done. */
  readonly onProgress?: (text: string) => void;
}

/** What one contender made of one file. */
export interface Reading {
  /** `mentor`, or `llama.cpp` with its threads. */
  readonly contender: ReaderName;
  /** The library, its version and how it computes. */
  readonly library: string;
  /** exp of the mean -log p of the passage's tokens; null where the library was asked before. */
  readonly perplexity: number | null;
  /** The prompt's greedy continuation; null where the library was asked before. */
  readonly continuation: readonly number[] | null;
  /** Wall time from the prompt's ids to the first token, in ms. */
  readonly firstTokenMs: { readonly fastest: number; readonly median: number };
  /** Tokens after the first. */
  readonly tokensPerSecond: { readonly fastest: number; readonly median: number };
}

/** How Mentor and llama.cpp differ about the passage. */
export interface Difference {
  /** Mentor's perplexity / llama.cpp's - 1. */
  readonly perplexity: number;
  /** Mean |difference| of a token's log p, in nats. */
  readonly tokenMean: number;
  /** The largest |difference| of a token's log p, in nats. */
  readonly tokenLargest: number;
}

/** Where two greedy continuations part. */
export interface Divergence {
  /** Index of the first token that differs. */
  readonly index: number;
  /** Mentor's token and llama.cpp's. */
  readonly tokens: readonly [number, number];
  /**
   * By how much Mentor's token leads llama.cpp's in Mentor's logits, and in llama.cpp's when it
   * has all tokens before in one batch: token by token it uses other kernels, and may choose
   * otherwise itself.
   */
  readonly leads: readonly [number, number];
}

/** What was found about one file. */
export interface CheckpointReport {
  /** Its name. */
  readonly file: string;
  readonly sha256: string;
  /** Tokens of the passage, as llama.cpp cuts it if it takes part. */
  readonly passageTokens: number;
  readonly promptTokens: number;
  readonly readings: readonly Reading[];
  /** Whether both cut the texts into the same tokens; null if there is but one. */
  readonly sameTokens: boolean | null;
  /** Null if there is but one. */
  readonly difference: Difference | null;
  /** Null where the continuations are the same, or there is but one. */
  readonly divergence: Divergence | null;
}

/** Greedy tokens that are compared and timed. */
export const CONTINUED = 32;
/** Longest sequence that is asked of a model, in tokens. */
const CONTEXT = 1024;
/** The first start downloads from npm and fills the driver's cache of shaders. */
const LIMITS = { startMs: 180_000, runMs: 300_000 };

/**
 * Every reader's script, its config, and its threads. llama.cpp's threads wait for each other in
 * busy loops, hundreds of times a token: where something else takes one of two cores, two threads
 * are many times slower than one.
 */
const READERS = {
  "mentor": ["peers/mentor_speech.ts", "../deno.json", 0],
  "llama.cpp 1 thread": ["peers/llama/llama_cpp.ts", "peers/llama/deno.json", 1],
  "llama.cpp 2 threads": ["peers/llama/llama_cpp.ts", "peers/llama/deno.json", 2],
} as const;

/** Who reads checkpoints. */
export type ReaderName = keyof typeof READERS;

interface Racer {
  readonly name: ReaderName;
  readonly contender: Contender;
}

/** The committed texts. */
export async function texts(): Promise<{ passage: string; prompt: string }> {
  const read = (name: string) => Deno.readTextFile(new URL(`data/${name}.txt`, import.meta.url));
  const [passage, prompt] = await Promise.all([read("passage"), read("prompt")]);
  return { passage, prompt };
}

/**
 * Compares all on every file.
 *
 * @throws {ContenderError} if Mentor can't read a file; llama.cpp is skipped where it can't.
 * @throws {Deno.errors.NotFound} if there is no such file.
 */
export async function checkpoints(
  { files, repetitions = 5, onProgress = () => {} }: CheckpointsOptions,
): Promise<{ reports: CheckpointReport[]; skipped: Skipped[] }> {
  const reports: CheckpointReport[] = [];
  const skipped: Skipped[] = [];
  // First of all: a wrong name should not cost minutes.
  for (const file of files) {
    await Deno.stat(file).catch(({ message }) => {
      throw new Deno.errors.NotFound(`Cannot bench "${file}": ${message}; name a GGUF file`);
    });
  }
  for (const file of files) {
    const racers: Racer[] = [];
    try {
      for (const name of Object.keys(READERS) as ReaderName[]) {
        onProgress(`${basename(file)}: starting ${name}`);
        try {
          racers.push({ name, contender: await startReader(name, file) });
        } catch (error) {
          if (!(error instanceof ContenderError)) throw error;
          if (name === "mentor") throw named(name, error);
          skipped.push({ work: basename(file), contender: name, reason: error.message });
        }
      }
      reports.push(await compare(file, racers, repetitions, onProgress));
    } finally {
      await Promise.all(racers.map(({ contender }) => contender.close()));
    }
  }
  return { reports, skipped };
}

/**
 * Starts a child that has a file loaded.
 *
 * @throws {ContenderError} if it can't load the file.
 */
export async function startReader(name: ReaderName, file: string): Promise<Contender> {
  const pathOf = (path: string) => fromFileUrl(new URL(path, import.meta.url));
  const [script, config, threads] = READERS[name];
  const command: Command = {
    program: Deno.execPath(),
    args: [
      ...["run", "-A", "--no-prompt", "--frozen", "--config", pathOf(config)],
      ...[pathOf(script), file, String(CONTEXT), String(threads)],
    ],
  };
  return await Contender.start(command, LIMITS);
}

/** exp of the mean. */
export function perplexity(nll: readonly number[]): number {
  return Math.exp(nll.reduce((sum, value) => sum + value, 0) / nll.length);
}

/** Index of the first token that differs; null if none does. */
export function firstDifference(a: readonly number[], b: readonly number[]): number | null {
  const index = a.findIndex((token, i) => token !== b[i]);
  return index >= 0 ? index : a.length < b.length ? a.length : null;
}

async function compare(
  file: string,
  racers: readonly Racer[],
  repetitions: number,
  onProgress: (text: string) => void,
): Promise<CheckpointReport> {
  const name = basename(file);
  const { passage, prompt } = await texts();
  onProgress(`${name}: comparing`);
  // What threads compute is the same: the values of one llama.cpp are enough.
  const both = racers.slice(0, 2);
  const encoded = await each(both, async ({ contender }) => [
    (await question(contender, "encode", passage)).value,
    (await question(contender, "encode", prompt)).value,
  ]);
  // llama.cpp's ids for both: a different tokenization is reported, and spoils no more.
  const [passageIds, promptIds] = encoded.at(-1)! as [number[], number[]];
  const scores = await each(
    both,
    async ({ contender }) => (await question(contender, "score", passageIds)).value,
  );
  const continuations = await each(
    both,
    async ({ contender }) => (await question(contender, "proceed", promptIds, CONTINUED)).value,
  );
  const divergence = await diverge(both, promptIds, continuations);
  onProgress(`${name}: measuring`);
  const times: { first: number; all: number }[][] = [];
  for (let round = 0; round < repetitions; round++) {
    times.push(
      await each(racers, async ({ contender }) => ({
        first: (await question(contender, "proceed", promptIds, 1)).ms,
        all: (await question(contender, "proceed", promptIds, CONTINUED)).ms,
      })),
    );
  }
  return {
    file: name,
    sha256: await sha256(file),
    passageTokens: passageIds.length,
    promptTokens: promptIds.length,
    readings: racers.map(({ name, contender }, i) => ({
      contender: name,
      library: String(contender.greeting["library"]),
      perplexity: scores[i] ? perplexity(scores[i]) : null,
      continuation: continuations[i] ?? null,
      ...speed(times.map((row) => row[i]!)),
    })),
    sameTokens: encoded.length < 2 ? null : String(encoded[0]) === String(encoded[1]),
    difference: differ(scores),
    divergence,
  };
}

/** One contender after the other: they share the cores. */
async function each<T>(
  racers: readonly Racer[],
  ask: (racer: Racer) => Promise<T>,
): Promise<T[]> {
  const answers: T[] = [];
  for (const racer of racers) {
    answers.push(await ask(racer).catch((error) => Promise.reject(named(racer.name, error))));
  }
  return answers;
}

/** A contender's message does not say whose it is. */
function named(name: ReaderName, error: Error): Error {
  if (!(error instanceof ContenderError)) return error;
  return new ContenderError(`${name}: ${error.message}`);
}

function differ([own, other]: readonly (readonly number[])[]): Difference | null {
  if (other === undefined) return null;
  const apart = own!.map((value, i) => Math.abs(value - other[i]!));
  return {
    perplexity: perplexity(own!) / perplexity(other) - 1,
    tokenMean: apart.reduce((sum, value) => sum + value, 0) / apart.length,
    tokenLargest: Math.max(...apart),
  };
}

async function diverge(
  racers: readonly Racer[],
  prompt: readonly number[],
  [own, other]: readonly (readonly number[])[],
): Promise<Divergence | null> {
  const index = other === undefined ? null : firstDifference(own!, other);
  if (index === null) return null;
  const tokens = [own![index]!, other![index]!] as const;
  const before = [...prompt, ...own!.slice(0, index)];
  const leads = await each(racers, async ({ contender }) => {
    const { value } = await question(contender, "logProbabilities", before, tokens);
    return value[0]! - value[1]!; // of log-probabilities as of logits
  });
  return { index, tokens, leads: leads as [number, number] };
}

/** What came after the first token is the difference of two times, each taken on its own. */
function speed(
  times: readonly { readonly first: number; readonly all: number }[],
): Pick<Reading, "firstTokenMs" | "tokensPerSecond"> {
  const [first, all] = [times.map(({ first }) => first), times.map(({ all }) => all)];
  const firstTokenMs = { fastest: Math.min(...first), median: median(first) };
  const rate = (allMs: number, firstMs: number) => 1000 * (CONTINUED - 1) / (allMs - firstMs);
  return {
    firstTokenMs,
    tokensPerSecond: {
      fastest: rate(Math.min(...all), firstTokenMs.fastest),
      median: rate(median(all), firstTokenMs.median),
    },
  };
}

/** Which file it is, whatever its name. */
export async function sha256(file: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(file));
  return new Uint8Array(digest).toHex();
}

/** The reports as text. */
export function renderCheckpoints(reports: readonly CheckpointReport[]): string {
  return reports.map(renderReport).join("\n\n");
}

function renderReport(report: CheckpointReport): string {
  const ms = (value: number) => `${value.toFixed(0)} ms`;
  const rows = report.readings.map((reading) => [
    reading.contender,
    reading.perplexity?.toFixed(3) ?? "",
    ms(reading.firstTokenMs.fastest),
    ms(reading.firstTokenMs.median),
    reading.tokensPerSecond.fastest.toFixed(1),
    reading.tokensPerSecond.median.toFixed(1),
    reading.library,
  ]);
  const head = ["", "perplexity", "first token", "median", "tokens/s", "median", "with"];
  const { file, passageTokens, promptTokens } = report;
  return [
    `${file}: a passage of ${passageTokens} tokens, a prompt of ${promptTokens}`,
    renderTable([head, ...rows], [1, 2, 3, 4, 5]),
    ...renderComparison(report),
  ].join("\n");
}

function renderComparison({ sameTokens, difference, divergence }: CheckpointReport): string[] {
  if (sameTokens === null || difference === null) return [];
  const signed = (value: number, digits: number) =>
    `${value > 0 ? "+" : ""}${value.toFixed(digits)}`;
  const { perplexity, tokenMean, tokenLargest } = difference;
  return [
    sameTokens ? "the same tokens for both texts" : "DIFFERENT TOKENS for the same texts",
    `perplexity ${signed(100 * perplexity, 3)} % against llama.cpp's; a token's log p differs by ` +
    `${tokenMean.toFixed(3)} on average, by ${tokenLargest.toFixed(2)} at most`,
    divergence === null
      ? `the same ${CONTINUED} greedy tokens`
      : `the same greedy tokens up to index ${divergence.index} of ${CONTINUED}: there the lead ` +
        `of token ${divergence.tokens[0]} over ${divergence.tokens[1]} is ` +
        `${signed(divergence.leads[0], 3)} in Mentor, ${
          signed(divergence.leads[1], 3)
        } in llama.cpp`,
  ];
}
