/**
 * Teachers: trajectories from a model behind an endpoint, or from one that runs here, as the
 * references of a task file.
 *
 * @module
 */

import { replaceFile } from "../../io/checkpoint.ts";
import { formatTasks } from "../../tasks/jsonl.ts";
import type { Task } from "../../tasks/task.ts";
import { ConfigError, resolveConfig, valueAt } from "../config/mod.ts";
import { readTasks } from "../tasks/source.ts";
import { openTools } from "../tools/mod.ts";
import { Journal } from "./journal.ts";
import { costOf } from "./ledger.ts";
import { localTeacher } from "./local.ts";
import { checkOptions, pricesOf, type TeachOptions } from "./options.ts";
import { remoteTeacher } from "./remote.ts";
import { countOf, summarise, type TaskCount, type TeachResult } from "./statistics.ts";
import { HaltError } from "./teacher.ts";
import type { Job } from "./trajectory.ts";
import { judge } from "./verdict.ts";

export type { TeachHalt } from "./teacher.ts";
export type { TeachOptions } from "./options.ts";
export type { TeachResult } from "./statistics.ts";

/**
 * Has a teacher solve the tasks of `config.tasks` with their tools, which run here, and writes those
 * that it solved to `config.out`, with what it did as their references. What is done is kept in a
 * journal beside it: the same call goes on from there, and asks nothing twice.
 *
 * @example
 * ```ts ignore
 * await teach({ tasks: "tasks.jsonl", tools: "tools.ts", from: "qwen3-32b", out: "taught.jsonl" }, {
 *   endpoint: "http://localhost:8000/v1",
 *   samples: 3,
 * });
 * ```
 * @throws {ConfigError} if settings or options are not usable, or `out` belongs to something else.
 * @throws {TaskFormatError} naming file and line of a malformed task.
 * @throws {CheckpointError} if files cannot be read or written, or another process is at work.
 * @throws {TeacherError} if the endpoint refuses what it is asked.
 * @throws {ToolUnavailableError} if a tool can't be had on this machine, or is gone for good.
 */
export async function teach(
  input: Readonly<Record<string, unknown>>,
  options: TeachOptions = {},
): Promise<TeachResult> {
  checkOptions(options);
  const config = resolveConfig({ flags: input });
  const given = (path: string) => valueAt(input, path) !== undefined;
  const { tasks: source, out, from } = config;
  if (source === null) throw new ConfigError("Cannot teach: say which tasks with --tasks FILE");
  if (out === null) throw new ConfigError("Cannot teach: say where they go with --out FILE");
  if (!given("from")) throw new ConfigError("Cannot teach: say which model with --model");
  const began = performance.now();
  const { endpoint, samples = 1, signal = new AbortController().signal } = options;
  const teacher = endpoint === undefined
    ? localTeacher(config, options, given)
    : remoteTeacher(config, { ...options, endpoint }, given);
  await using box = await openTools(config.tools);
  const { tasks } = await readTasks(config, box.tools, { unreferenced: true });
  using journal = openJournal(out);
  for (const task of tasks) journal.require(task);
  journal.begin(teacher.url, teacher.settings);
  const counts = () => tasks.map((task) => countOf(task, samples, journal));
  const watch = new Watch(counts(), samples, journal, options);
  let stopped: TeachResult["stopped"] = null;
  try {
    const work = { samples, journal, signal, onEnd: watch.ended };
    const [reason] = await teacher.solve(tasks, work);
    if (reason !== undefined) stopped = { by: "unanswered", message: reason };
  } catch (error) {
    if (!(error instanceof HaltError)) throw error;
    stopped = { by: error.halt, message: error.message };
  } finally {
    // What there is so far may be all that the user wants to pay for.
    replaceFile(out, taughtFile(counts(), from));
  }
  return {
    model: from,
    out,
    status: stopped === null ? "done" : "stopped",
    stopped,
    ...summarise(counts(), samples, journal, pricesOf(options)),
    seconds: (performance.now() - began) / 1000,
  };
}

/** Tells how far it is. */
class Watch {
  readonly #total: number;
  readonly #journal: Journal;
  readonly #options: TeachOptions;
  #done: number;
  #accepted: number;

  constructor(
    counts: readonly TaskCount[],
    samples: number,
    journal: Journal,
    options: TeachOptions,
  ) {
    const { ended, accepted } = summarise(counts, samples, journal, null);
    this.#total = samples * counts.length;
    this.#done = ended;
    this.#accepted = accepted;
    this.#journal = journal;
    this.#options = options;
    this.#tell();
  }

  readonly ended = (job: Job): void => {
    const trajectory = this.#journal.trajectory(job);
    this.#done++;
    if (trajectory && judge(job.task, trajectory).verdict === "accepted") this.#accepted++;
    this.#tell();
  };

  #tell(): void {
    const { spent } = this.#journal.ledger;
    const prices = pricesOf(this.#options);
    this.#options.onProgress?.("teach", this.#done, this.#total, {
      accepted: this.#accepted,
      tokens: spent.input + spent.output,
      ...(prices === null ? {} : { money: costOf(spent, prices) }),
    });
  }
}

/** The journal that belongs to a file; its name is `taught.journal.jsonl` for `taught.jsonl`. */
function openJournal(out: string): Journal {
  const path = `${out.replace(/\.jsonl$/, "")}.journal.jsonl`;
  if (exists(out) && !exists(path)) {
    throw new ConfigError(
      `Cannot write "${out}": there is such a file already, and no journal beside it says that a ` +
        "teacher made it. Choose another --out",
    );
  }
  return new Journal(path);
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** The tasks that have a reference, each with how the teacher fared on it, which readers ignore. */
function taughtFile(counts: readonly TaskCount[], model: string): string {
  const taught = counts.flatMap(({ task, reference, verdicts, correct }) => {
    if (reference === null) return [];
    const accepted = verdicts.filter((verdict) => verdict === "accepted").length;
    const fared = { model, samples: verdicts.length, correct, accepted };
    return [{ task: { ...task, reference }, more: { teacher: fared } }];
  });
  const more = new Map<Task, Record<string, unknown>>(taught.map(({ task, more }) => [task, more]));
  return formatTasks([...more.keys()], (task) => more.get(task)!);
}
