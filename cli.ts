/**
 * The command line: `./mentor <command>` or `deno task <command>`.
 *
 * @module
 */

import {
  ConfigError,
  exportModel,
  MissingReferenceError,
  plan,
  type RunConfig,
  TaskFormatError,
} from "./mod.ts";
import {
  err,
  type Invocation,
  json,
  out,
  runChat,
  runCompare,
  runEval,
  runGenerate,
  runPretrain,
  runReport,
  runTasks,
  runTeach,
  runTrain,
} from "./src/run/commands.ts";
import { armNames } from "./src/run/compare/arms.ts";
import { mergeSettings, readConfigFile, resolveConfig, valueAt } from "./src/run/config/mod.ts";
import { doctor, renderDoctor } from "./src/run/doctor.ts";
import { flagHelp, parseFlags, takeFlags } from "./src/run/config/flags.ts";
import { renderPlan } from "./src/run/plan/mod.ts";
import { Progress } from "./src/run/progress.ts";
import { listRuns } from "./src/run/store.ts";
import { suggestion } from "./src/run/config/suggest.ts";
import { teachFlags } from "./src/run/teach/options.ts";
import { RunWatcher } from "./src/run/watch.ts";
import { serveFlags } from "./src/serve/flags.ts";

interface Command {
  readonly summary: string;
  readonly usage: string;
  readonly about: string;
  /** Whether it takes the settings of a run. */
  readonly settings: boolean;
  /** Whether it takes `--profile`. */
  readonly profile?: boolean;
  /** Flags of its own, with what they are for. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Those of them that take no value. */
  readonly switches?: Readonly<Record<string, string>>;
  /** How many arguments that are no flags it takes; none when absent. */
  readonly arguments?: number;
  /** Returns the exit code. */
  run(args: Invocation, config: RunConfig): Promise<number> | number;
}

const commands: Readonly<Record<string, Command>> = {
  train: {
    summary: "train a student to use tools; prints before and after",
    usage: "./mentor train [--settings]",
    about:
      `Starts from a base model, lets it solve tasks with real tools, rewards right answers and a
way of working like the teacher's (GRPO), and measures before and after on tasks never trained on.

Examples:
  ./mentor train                                   the built-in domains, in a few minutes
  ./mentor train --reward sparse --seed 1          another reward
  ./mentor train --method sft                      imitate the teacher instead
  ./mentor train --method ppo --ppo.critic model   a learned value function in place of groups
  ./mentor train --tasks my.jsonl --tools my.ts    your tasks and tools (or servers.json, for MCP)
  ./mentor train --resume runs/2026-11-22-2317-k3fz
  ./mentor train --steps 6 --profile               where the time goes, by kernel and phase`,
    settings: true,
    profile: true,
    run: runTrain,
  },
  eval: {
    summary: "measure a model: pass@1, valid calls, likeness to the teacher",
    usage: "./mentor eval --from FOLDER [--benchmark NAME --data FOLDER] [--settings]",
    about: `Measures a model on fixed tasks that training never draws, or on a public benchmark.

Examples:
  ./mentor eval --model runs/2026-11-22-2317-k3fz/model
  ./mentor eval --model FOLDER --benchmark bfcl:simple_python --data bfcl --limit 20
  ./mentor eval --model FOLDER --benchmark gsm8k --data gsm8k`,
    settings: true,
    profile: true,
    flags: {
      benchmark: "gsm8k, gsm8k:no-tools, bfcl:CATEGORY, or bfcl for all that --data has",
      data: "Folder with the benchmark's files (docs/benchmarks.md says where they are)",
    },
    run: runEval,
  },
  teach: {
    summary: "collect a teacher's trajectories as the references of tasks",
    usage: "./mentor teach --tasks FILE --model NAME [--endpoint URL] --out FILE.jsonl",
    about:
      `Has a teacher solve tasks with their tools, which run here, and writes those that it solved as a
task file to train on. The teacher is asked over OpenAI's chat completions, or runs here if there is
no --endpoint. The key comes from the environment (OPENAI_API_KEY). Every answer is kept in a journal
beside the file: interrupt it at any time, and the same command goes on and asks nothing twice.

Examples:
  ./mentor teach --tasks my.jsonl --tools my.ts --out taught.jsonl \\
      --endpoint http://localhost:8000/v1 --model Qwen/Qwen3-32B --samples 3 --concurrency 16
  ./mentor teach --tasks my.jsonl --tools my.ts --out taught.jsonl \\
      --endpoint https://api.openai.com/v1 --model NAME --requests-per-minute 500 \\
      --budget-money 5 --price-input 0.5 --price-output 2
  ./mentor teach --tasks my.jsonl --tools my.ts --out taught.jsonl --model org/name
  ./mentor train --tasks taught.jsonl --tools my.ts

docs/teach.md has the details.`,
    settings: true,
    flags: teachFlags,
    run: runTeach,
  },
  generate: {
    summary: "give a model a prompt and run the tools that it calls",
    usage: './mentor generate --model FOLDER [--tools SOURCES] "34 plus 8"',
    about:
      `Prints each call with its result, and the answer; without SOURCES there is the calculator. FOLDER may also be a GGUF file, an adapter, or a model of the Hub as org/name.
Greedy unless --rollout.temperature is given.`,
    settings: true,
    arguments: Infinity,
    run: runGenerate,
  },
  chat: {
    summary: "talk to a model; it answers as it goes, and its calls run for real",
    usage: "./mentor chat --model FOLDER [--tools SOURCES] [--settings]",
    about: `SOURCES are modules, files of MCP servers, search:FILE or names of built-in tools, with
commas between them (docs/tools.md); without them there is the calculator. Greedy unless
--rollout.temperature is given; --rollout.max-tokens is how long the conversation may get.`,
    settings: true,
    run: runChat,
  },
  compare: {
    summary: "compare imitation and rewards over seeds, with intervals; one report",
    usage: "./mentor compare [--seeds N] [--arms A,B] [--out FOLDER] [--settings]",
    about: `Trains every arm from the same model, on the same prompts, with the same budget, and
measures all of them on prompts never trained on. Arms: ${armNames.join(", ")},
or config files. What is done is kept: interrupt it at any time, and the same command goes on.
Unless you say otherwise it has --steps 120, --limit 256, --teacher.mental 0.3,
--pretrain.behaviour rare and --evaluation.prompts 64 (docs/compare.md has the reasons).

Examples:
  ./mentor compare --seeds 5                        the whole experiment, an hour on two cores
  ./mentor compare --seeds 1 --arms sft,flex        a first look
  ./mentor compare --arms flex,mine.yaml --out mine your settings against the default reward`,
    settings: true,
    flags: {
      seeds: "How many seeds, from --seed on (default 5)",
      arms: `Which arms, with commas between (default ${armNames.join(",")})`,
    },
    run: runCompare,
  },
  report: {
    summary: "write a run's or a comparison's report as one HTML file",
    usage: "./mentor report FOLDER [--out FILE]",
    about: `Curves, samples before and after, and every token of some episodes with its advantage;
of a comparison, all arms with intervals. The file needs no network.`,
    settings: true,
    arguments: 1,
    run: runReport,
  },
  tasks: {
    summary: "say what is in a file of tasks, and what is wrong with it; convert it",
    usage: "./mentor tasks FILE [--tools FILE] [--eval FILE] [--out FILE] [--settings]",
    about:
      `Reads JSONL, JSON, CSV or Parquet, on disk or as hf://datasets/org/name/file, in any of the
formats of docs/data.md, and prints numbers, malformed rows by reason, duplicates, leaks between
training and evaluation, references that do not work, and some tasks as the model sees them.
Exits with 1 if rows are malformed, unless --skip-invalid is given.

Examples:
  ./mentor tasks my.jsonl --tools my.ts                  before a run
  ./mentor tasks train.parquet --eval test.parquet       does one leak into the other?
  ./mentor tasks train.jsonl --model org/name            lengths in tokens, and its chat format
  ./mentor tasks data.json --out tasks.jsonl             the same in Mentor's own format`,
    settings: true,
    arguments: 1,
    flags: { eval: "Another file, whose tasks should not be among these" },
    run: runTasks,
  },
  plan: {
    summary: "say what memory and time a run will take, before it takes it",
    usage: "./mentor plan [FILE] [--settings]",
    about: `Rehearses the run of a config file or of flags on a device that only counts, and prints
weights, gradients, optimizer, activations and KV cache. Nothing of the model is loaded.`,
    settings: true,
    arguments: 1,
    async run({ flags, json: asJson, quiet }) {
      using watcher = new RunWatcher({ quiet, write: err });
      const planned = await plan(flags, watcher.progress);
      watcher.finish();
      if (asJson) json(planned);
      else out(renderPlan(planned));
      return planned.limit !== null && planned.bytes.total > planned.limit ? 1 : 0;
    },
  },
  export: {
    summary: "write a trained model for Transformers, vLLM and llama.cpp",
    usage: "./mentor export --model FOLDER --out FOLDER [--dtype bf16]",
    about: "Merges adapters into the weights, and writes config, safetensors, tokenizer, template.",
    settings: true,
    async run({ json: asJson, quiet, flags, given }) {
      if (!given("from")) throw new ConfigError("Cannot export: say which model with --model");
      using watcher = new RunWatcher({ quiet, write: err });
      const written = await exportModel(flags, watcher.progress);
      watcher.finish();
      const merged = written.merged ? ", adapters merged" : "";
      if (asJson) json(written);
      else out(`Wrote ${written.folder} in ${written.dtype}${merged}`);
      return 0;
    },
  },
  pretrain: {
    summary: "make the base model that training starts from",
    usage: "./mentor pretrain --out FOLDER [--pretrain.steps N]",
    about:
      `Trains a model from scratch on traces of a policy whose decisions are wrong and whose skills
are sound, and measures whether it is worth starting from. Takes some three minutes in software.`,
    settings: true,
    run: runPretrain,
  },
  doctor: {
    summary: "show adapter, driver and limits, and check every kernel on this machine",
    usage: "./mentor doctor [--json]",
    about:
      `Runs every kernel against its f64 reference and prints the worst error of each. Then every
number of bf16 and f16 goes through products and look-ups: "weights" lists the types that hold.`,
    settings: false,
    async run({ json: asJson, quiet }) {
      const { kernelChecks } = await import("./src/ops/checks/mod.ts");
      using bar = new Progress({ label: "kernels", total: kernelChecks.length, quiet });
      let done = 0;
      const report = await doctor({ onKernel: ({ name }) => bar.update(++done, { last: name }) });
      bar.finish();
      if (asJson) json(report);
      else out(renderDoctor(report));
      return report.ok ? 0 : 1;
    },
  },
  bench: {
    summary: "measure kernels, steps and rollouts, beside what others would take",
    usage: "./mentor bench [PART] [flags]",
    about: "./mentor bench --help lists the parts.",
    settings: false,
    // It has flags of its own: `main` hands them over unread.
    run: ({ positional }) => bench(positional),
  },
  serve: {
    summary: "control runs over HTTP, and talk to models as OpenAI's clients do",
    usage: "./mentor serve [flags]\n       ./mentor serve token NAME [--scope control]",
    about:
      `Runs wait in a queue and are made one after the other, each in a process of its own, which
goes on when the server ends; docs/server.md has the requests, and how to open it to others.

Examples:
  ./mentor serve
  ./mentor serve --models nano=assets/base-nano    also OpenAI's API at /v1 (docs/inference.md)`,
    settings: false,
    flags: serveFlags,
    arguments: 2,
    // Hono and SQLite are loaded only here.
    run: async (args) => (await import("./src/serve/command.ts")).runServe(args),
  },
  runs: {
    summary: "list the training runs",
    usage: "./mentor runs [FOLDER] [--reindex]",
    about: "Lists the runs under FOLDER (runs/ by default), newest first.",
    settings: false,
    switches: { reindex: "First make the server's index again from the folders" },
    arguments: 1,
    async run({ positional: [folder], json: asJson, own }) {
      if (own["reindex"] !== undefined) {
        const { RunIndex } = await import("./src/serve/index/run_index.ts");
        RunIndex.rebuild(folder ?? "runs");
      }
      const runs = listRuns(folder);
      if (asJson) json(runs);
      else if (runs.length === 0) {
        out(`No runs under "${folder ?? "runs"}"; ./mentor train makes one`);
      }
      for (const { id, status, step, config } of asJson ? [] : runs) {
        out(
          `${id}  ${status.padEnd(11)} step ${step}  ${config?.method ?? ""} ${
            config?.reward ?? ""
          }`,
        );
      }
      return 0;
    },
  },
  help: {
    summary: "explain the commands",
    usage: "./mentor help [COMMAND]",
    about: "",
    settings: false,
    arguments: 1,
    run({ positional: [name] }) {
      out(name === undefined ? overview() : explain(name, commandNamed(name)));
      return 0;
    },
  },
};

/** Its modules are loaded only here, and so are the peers that it compares with. */
const bench = async (args: readonly string[]) => (await import("./bench/main.ts")).main(args);

function overview(): string {
  const width = Math.max(8, ...Object.keys(commands).map((name) => name.length));
  const lines = Object.entries(commands).map(([name, { summary }]) =>
    `  ${name.padEnd(width)}  ${summary}`
  );
  return `Mentor teaches small language models to use tools, on whatever GPU is at hand.\n\n` +
    `Usage: ./mentor <command> [flags]\n\n${lines.join("\n")}\n\n` +
    "./mentor <command> --help explains a command and its settings.";
}

function explain(name: string, command: Command): string {
  const { summary, usage, about, settings, profile } = command;
  const parts = [`${name}: ${summary}`, `Usage: ${usage}`, about];
  const flags = Object.entries({ ...command.flags, ...command.switches });
  const width = Math.max(8, ...flags.map(([flag]) => flag.length));
  const own = flags.map(([flag, text]) => `  --${flag.padEnd(width)}  ${text}`);
  if (own.length > 0) parts.push(own.join("\n"));
  if (settings) parts.push(flagHelp({ profile }));
  return parts.filter((part) => part !== "").join("\n\n");
}

function commandNamed(name: string): Command {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command) return command;
  throw new ConfigError(
    `Cannot run "${name}": there is no such command${
      suggestion(name, Object.keys(commands))
    }. ./mentor help lists them`,
  );
}

/**
 * Runs one command line.
 *
 * @returns the exit code: 0 done, 1 failed, 2 bad usage or input
 */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    const [name = "help", ...args] = argv;
    if (name === "--help" || name === "-h") return await main(["help"]);
    if (name === "bench") return await bench(args);
    const command = commandNamed(name);
    const { own, rest } = takeFlags(
      args,
      Object.keys(command.flags ?? {}),
      Object.keys(command.switches ?? {}),
    );
    const parsed = parseFlags(rest);
    if (parsed.help) {
      out(explain(name, command));
      return 0;
    }
    if (parsed.profile && !command.profile) {
      const takers = Object.keys(commands).filter((taker) => commands[taker]!.profile);
      throw new ConfigError(
        `Cannot profile "${name}": --profile is a flag of ${takers.join(" and ")}`,
      );
    }
    const { arguments: most = 0 } = command;
    if (parsed.positional.length > most) {
      throw new ConfigError(
        `Cannot use "${parsed.positional[most]}": ${name} takes ${
          most === 0 ? "flags alone" : `${most} argument`
        }. Did you mean --model ${parsed.positional[most]}?`,
      );
    }
    // `plan FILE` reads as well as `plan --config FILE`.
    const path = parsed.config ?? (name === "plan" ? parsed.positional[0] ?? null : null);
    const file = path === null ? {} : readConfigFile(path);
    const config = resolveConfig({ file, flags: parsed.flags });
    // The commands resolve again, from one layer.
    const flags = mergeSettings(file, parsed.flags);
    const given = (path: string) => valueAt(flags, path) !== undefined;
    return await command.run({ ...parsed, flags, own, given }, config);
  } catch (error) {
    err((error as Error).message);
    if (Deno.env.get("MENTOR_DEBUG")) err((error as Error).stack ?? "");
    return isUsage(error) ? 2 : 1;
  }
}

/** Whether the input is to blame, not the machine. */
function isUsage(error: unknown): boolean {
  return error instanceof ConfigError || error instanceof TaskFormatError ||
    error instanceof MissingReferenceError;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
