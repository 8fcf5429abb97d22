/**
 * What the longer commands of the command line do.
 *
 * @module
 */

import { total } from "../tasks/formats/reader.ts";
import { openAdapter } from "./adapter.ts";
import { evaluateBenchmark } from "./benchmark/mod.ts";
import { chatAtTerminal } from "./chat.ts";
import { compare } from "./compare/mod.ts";
import { ConfigError, type RunConfig, warmupSteps } from "./config/mod.ts";
import { converse, renderConversation } from "./converse.ts";
import { evaluate } from "./evaluate.ts";
import type { ParsedFlags } from "./config/flags.ts";
import { onInterrupt } from "./interrupt.ts";
import { makeBase, renderBase } from "./pretrain.ts";
import type { Profile } from "./profile.ts";
import { RunFolder } from "./store.ts";
import { loadStudent } from "./student.ts";
import { renderArms, renderBenchmark, renderComparison, renderScores } from "./table.ts";
import { notesOf } from "./tasks/account.ts";
import { convertTaskFile, inspectTaskFile } from "./tasks/command.ts";
import { renderInspection } from "./tasks/report.ts";
import { teach } from "./teach/mod.ts";
import { optionsOf } from "./teach/options.ts";
import { renderTeaching } from "./teach/statistics.ts";
import { openTools } from "./tools/mod.ts";
import { train } from "./train.ts";
import { renderProfile, RunWatcher } from "./watch.ts";

/** A command line with what its config file says. */
export interface Invocation extends ParsedFlags {
  /** Values of the command's own flags. */
  readonly own: Readonly<Record<string, string>>;
  /** Whether a setting was given, in the file or as a flag. */
  given(path: string): boolean;
}

/** Prints a result. */
export const out = (text: string) => console.log(text);
/** Prints anything else. */
export const err = (text: string) => console.error(text);
/** Prints a result for machines. */
export const json = (value: unknown) => out(JSON.stringify(value, null, 2));

export async function runTrain(args: Invocation, config: RunConfig): Promise<number> {
  const { json: asJson, quiet, flags } = args;
  const stop = new AbortController();
  const restore = onInterrupt(() => {
    err("\nStopping after this step; interrupt again to quit at once");
    stop.abort();
  });
  using watcher = new RunWatcher({ quiet, write: err });
  if (config.resume) {
    const begun = RunFolder.open(config.resume).config;
    watcher.resumed(begun.steps + warmupSteps(begun));
  }
  try {
    const result = await train(flags, {
      signal: stop.signal,
      onEvent: watcher.event,
      onProgress: watcher.progress,
      profile: args.profile,
    });
    watcher.finish();
    if (asJson) json(result);
    else {
      if (result.domains.length > 0) out(`\n${renderComparison(result.domains)}\n`);
      const { run, model, seconds, status } = result;
      if (status === "stopped") {
        out(
          `Stopped and saved after ${
            seconds.toFixed(0)
          } s. Go on with:\n  ./mentor train --resume ${run}`,
        );
      } else {
        const memory = `${Math.ceil(result.peakBytes / 2 ** 20)} MiB`;
        out(`Done in ${seconds.toFixed(0)} s, in ${memory}. Run: ${run}  Model: ${model}`);
        const { tools } = RunFolder.open(run).config;
        const own = tools === null ? "" : ` --tools ${tools.join(",")}`;
        out(`Try it:\n  ./mentor generate --from ${model}${own} "34 plus 8 times 3"`);
      }
      if (result.profile) err(`\n${renderProfile(result.profile)}`);
    }
    return 0;
  } finally {
    restore();
  }
}

export async function runEval(
  { flags, own: { benchmark, data }, json: asJson, quiet, profile: detail }: Invocation,
): Promise<number> {
  if ((benchmark === undefined) !== (data === undefined)) {
    throw new ConfigError(
      "Cannot evaluate: --benchmark NAME and --data FOLDER, where its files are, go together",
    );
  }
  using watcher = new RunWatcher({ quiet, write: err });
  const options = { onProgress: watcher.progress, profile: detail };
  const show = (rendered: string, profile: Profile | undefined) => {
    watcher.finish();
    out(rendered);
    if (profile) err(`\n${renderProfile(profile)}`);
  };
  if (benchmark === undefined) {
    const { rows, outage, profile } = await evaluate(flags, options);
    if (asJson) json({ domains: rows, profile });
    else {
      show(renderScores(rows), profile);
      if (outage) err(`\n${outage}`);
    }
    return 0;
  }
  const result = await evaluateBenchmark({ name: benchmark, data: data! }, flags, options);
  if (asJson) json(result);
  else show(renderBenchmark(result.domains), result.profile);
  return 0;
}

export async function runTeach(
  { flags, own, json: asJson, quiet }: Invocation,
  config: RunConfig,
): Promise<number> {
  const stop = new AbortController();
  const restore = onInterrupt(() => {
    err("\nWaiting for the answers under way; interrupt again to quit at once and lose them");
    stop.abort();
  });
  using watcher = new RunWatcher({ quiet, write: err });
  try {
    const result = await teach(flags, {
      ...optionsOf(own),
      signal: stop.signal,
      onProgress: watcher.measured,
    });
    watcher.finish();
    if (asJson) json(result);
    else out(`\n${renderTeaching(result, config.tools)}`);
    // An endpoint that did not answer is a failure; what the user wanted is none.
    return result.stopped?.by === "unanswered" || result.stopped?.by === "wait" ? 1 : 0;
  } finally {
    restore();
  }
}

export async function runGenerate(args: Invocation, config: RunConfig): Promise<number> {
  const { positional: prompts, json: asJson, quiet } = args;
  if (prompts.length === 0) {
    throw new ConfigError('Cannot generate: no prompt given; write it in quotes: "34 plus 8"');
  }
  const sampled = args.given("rollout.temperature");
  // A name that is wrong is told before gigabytes are read.
  await using box = await openTools(config.tools);
  using gpu = await openAdapter(config);
  using watcher = new RunWatcher({ quiet, write: err });
  const { progress: onProgress } = watcher;
  using student = await loadStudent(gpu, config.from, { ...config, onProgress });
  watcher.finish();
  const { maxPositions } = student.model.config;
  const { maxTokens, maxCalls, temperature, topK, topP } = config.rollout;
  const results = [];
  for (const prompt of prompts) {
    const conversation = await converse(student, prompt, box.tools, {
      maxTokens: maxTokens ?? Math.min(maxPositions, 1024),
      maxCalls,
      temperature: sampled ? temperature : 0,
      topK,
      topP,
      seed: config.seed,
    });
    results.push({ prompt, ...conversation });
    if (!asJson) out(renderConversation(conversation));
  }
  if (asJson) json(results);
  return 0;
}

export async function runChat({ given, quiet }: Invocation, config: RunConfig): Promise<number> {
  using watcher = new RunWatcher({ quiet, write: err });
  const { progress: onProgress } = watcher;
  await chatAtTerminal(config, { sampled: given("rollout.temperature"), onProgress, write: err });
  return 0;
}

export async function runPretrain(
  { json: asJson, quiet }: Invocation,
  config: RunConfig,
): Promise<number> {
  if (config.out === null) {
    throw new ConfigError("Cannot pretrain: say where the model goes with --out FOLDER");
  }
  using watcher = new RunWatcher({ quiet, write: err });
  const gate = await makeBase(config, config.out, watcher.progress);
  if (asJson) json(gate);
  else {
    out(renderBase(gate, config.out));
  }
  return 0;
}

export async function runCompare({ flags, own, json: asJson, quiet }: Invocation): Promise<number> {
  const stop = new AbortController();
  const restore = onInterrupt(() => {
    err("\nStopping, and keeping what is done; interrupt again to quit at once");
    stop.abort();
  });
  using watcher = new RunWatcher({ quiet, write: err });
  try {
    const result = await compare(flags, {
      ...(own.seeds === undefined ? {} : { seeds: Number(own.seeds) }),
      ...(own.arms === undefined ? {} : { arms: own.arms.split(",").map((arm) => arm.trim()) }),
      signal: stop.signal,
      onProgress: watcher.progress,
    });
    watcher.finish();
    const { folder, comparison } = result;
    if (!comparison) {
      if (asJson) json(result);
      else out("Stopped; what is done is kept. The same command goes on from there.");
      return 0;
    }
    const { report } = await import("./report/mod.ts");
    const { page } = report(folder);
    if (asJson) json(result);
    else out(`\n${renderArms(comparison)}\n\n${comparison.conclusion}\n\nReport: ${page}`);
    return 0;
  } finally {
    restore();
  }
}

export async function runReport(
  { positional: [path], flags, json: asJson }: Invocation,
): Promise<number> {
  if (path === undefined) {
    throw new ConfigError("Cannot report: name the folder of a run or of a comparison");
  }
  const { report } = await import("./report/mod.ts");
  const written = report(path, typeof flags.out === "string" ? { out: flags.out } : {});
  if (asJson) json(written);
  else out(`Wrote ${written.page}${written.csv === null ? "" : ` and ${written.csv}`}`);
  return 0;
}

export async function runTasks(
  { positional: [path], own, json: asJson, quiet, given }: Invocation,
  config: RunConfig,
): Promise<number> {
  const source = path ?? config.tasks;
  if (source === null) throw new ConfigError("Cannot inspect tasks: name a file of them");
  using watcher = new RunWatcher({ quiet, write: err });
  const { progress: onProgress } = watcher;
  if (config.out !== null) {
    if (own.eval !== undefined) {
      throw new ConfigError("Cannot convert tasks and compare them: give --out or --eval");
    }
    const { tasks, ...file } = await convertTaskFile(source, config.out, config, onProgress);
    watcher.finish();
    for (const note of notesOf({ ...file, tasks }, tasks)) err(note);
    if (asJson) json({ out: config.out, ...file, tasks: tasks.length });
    else out(`Wrote ${tasks.length} tasks to ${config.out}`);
    return 0;
  }
  const found = await inspectTaskFile(source, config, {
    evaluation: own.eval,
    countTokens: given("from"),
    onProgress,
  });
  watcher.finish();
  if (asJson) json(found);
  else out(renderInspection(found));
  const malformed = total(found.invalid) + total(found.evaluation?.file.invalid ?? {});
  return malformed > 0 && !config.skipInvalid ? 1 : 0;
}
