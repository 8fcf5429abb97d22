/**
 * The journal of a teacher: everything that it was asked and answered, a line each, in the order in
 * which it happened. `docs/teach.md` has the lines.
 *
 * An answer is in the file, and the file on the disk, before anything is done with it. So a process
 * that is killed loses the answers that it was still waiting for, and nothing else; a later one goes
 * through the same conversations again and is answered out of the journal as far as that goes.
 *
 * @module
 */

import { JsonlWriter, readJsonl } from "../../io/jsonl.ts";
import { hashText } from "../../random.ts";
import { canonicalJson } from "../../rl/arguments.ts";
import type { Task } from "../../tasks/task.ts";
import { ConfigError } from "../config/mod.ts";
import type { Completion } from "./endpoint.ts";
import { Ledger, type Usage } from "./ledger.ts";
import type { Job, TeacherCall, Trajectory } from "./trajectory.ts";
import { judge } from "./verdict.ts";

/** A completion with its tokens, which may be an estimate. */
export type Answer = Completion & { readonly usage: Usage; readonly estimated?: true };

type Line =
  | { type: "begin"; at: string; endpoint: string | null; settings: Record<string, unknown> }
  | Named & { type: "sent"; turn: number; attempt: number; expected: Usage }
  | Named & { type: "failed"; turn: number; charged: boolean; reason: string }
  | Named & { type: "answer"; turn: number; answer: Answer }
  | Named & { type: "results"; turn: number; calls: TeacherCall[] }
  | Named & {
    type: "trajectory";
    trajectory: Trajectory;
    verdict: string;
    answer: string | null;
    usage?: Usage;
  };

interface Named {
  readonly task: string;
  /** Of what the task asks, so that another task of the same name is noticed. */
  readonly hash: number;
  readonly sample: number;
}

/** Reads what a journal has, and writes what is added; no other process can while it is open. */
export class Journal implements Disposable {
  /** Where it lies. */
  readonly path: string;
  /** What the teacher has cost, by all processes that wrote here. */
  readonly ledger: Ledger = new Ledger();
  readonly #writer: JsonlWriter;
  readonly #answers = new Map<string, Answer>();
  readonly #results = new Map<string, readonly TeacherCall[]>();
  readonly #trajectories = new Map<string, Trajectory>();
  /** By the id of the task. */
  readonly #hashes = new Map<string, number>();
  #settings: Record<string, unknown> | null = null;

  /**
   * Opens a journal, or begins one.
   *
   * @throws {CheckpointError} if it cannot be read or written, or another process writes to it.
   */
  constructor(path: string) {
    this.path = path;
    this.#writer = new JsonlWriter(path);
    try {
      for (const line of readJsonl(path)) this.#take(line as Line);
      this.ledger.abandon();
    } catch (error) {
      this.#writer.close();
      throw error;
    }
  }

  /**
   * Notes that a process goes to work.
   *
   * @param settings all that decides what the teacher is asked, beside the task
   * @throws {ConfigError} if the journal was begun with others.
   */
  begin(endpoint: string | null, settings: Readonly<Record<string, unknown>>): void {
    const before = this.#settings;
    if (before !== null) {
      const changed = [...new Set([...Object.keys(before), ...Object.keys(settings)])]
        .filter((name) => canonicalJson(before[name]) !== canonicalJson(settings[name]));
      if (changed.length > 0) {
        throw new ConfigError(
          `Cannot go on with "${this.path}": it was begun with other settings ` +
            `(${changed.join(", ")}). Repeat these, or choose another --out`,
        );
      }
    }
    this.#add({ type: "begin", at: new Date().toISOString(), endpoint, settings });
  }

  /**
   * Checks that a task is the one that the journal knows by this name.
   *
   * @throws {ConfigError} if it is another.
   */
  require(task: Task): void {
    const known = this.#hashes.get(task.id);
    if (known === undefined || known === hashOf(task)) return;
    throw new ConfigError(
      `Cannot go on with "${this.path}": it has another task "${task.id}", with another prompt, ` +
        "other tools or another world. Choose another --out, or give the task another id",
    );
  }

  /** What the teacher answered in a turn; undefined if it was not asked yet. */
  answer(job: Job, turn: number): Answer | undefined {
    return this.#answers.get(turnName(job, turn));
  }

  /** What became of the calls of a turn. */
  results(job: Job, turn: number): readonly TeacherCall[] | undefined {
    return this.#results.get(turnName(job, turn));
  }

  /** A trajectory that has ended. */
  trajectory(job: Job): Trajectory | undefined {
    return this.#trajectories.get(jobName(job));
  }

  /** A request is about to be sent. */
  sent(job: Job, turn: number, attempt: number, expected: Usage): void {
    this.#add({ type: "sent", ...named(job), turn, attempt, expected });
  }

  /** It came to nothing. @param charged whether it may have cost something all the same */
  failed(job: Job, turn: number, charged: boolean, reason: string): void {
    this.#add({ type: "failed", ...named(job), turn, charged, reason });
  }

  /** It was answered; on return the answer is on the disk. */
  answered(job: Job, turn: number, answer: Answer): void {
    this.#add({ type: "answer", ...named(job), turn, answer });
    this.#writer.sync();
  }

  /** The calls of a turn were run. */
  ran(job: Job, turn: number, calls: TeacherCall[]): void {
    this.#add({ type: "results", ...named(job), turn, calls });
    this.#writer.sync();
  }

  /**
   * A trajectory has ended.
   *
   * @param usage tokens that no answer of the journal's counts: those of a model that ran here
   */
  ended(job: Job, trajectory: Trajectory, usage?: Usage): void {
    const { verdict, answer } = judge(job.task, trajectory);
    this.#add({ type: "trajectory", ...named(job), verdict, answer, trajectory, usage });
    this.#writer.sync();
  }

  /** Lets other processes in. */
  [Symbol.dispose](): void {
    this.#writer.close();
  }

  #add(line: Line): void {
    this.#writer.append(line);
    this.#take(line);
  }

  /** What a line, read or written, adds to what is known. */
  #take(line: Line): void {
    if (line.type === "begin") {
      this.#settings ??= line.settings;
      this.ledger.abandon();
      return;
    }
    const job = `${line.task}/${line.sample}`;
    this.#hashes.set(line.task, line.hash);
    if (line.type === "trajectory") {
      this.#trajectories.set(job, line.trajectory);
      if (line.usage) this.ledger.took(line.usage);
      return;
    }
    const name = `${job}/${line.turn}`;
    switch (line.type) {
      case "sent":
        return this.ledger.sent(name, line.expected);
      case "failed":
        return this.ledger.failed(name, line.charged);
      case "answer":
        this.ledger.answered(name, line.answer.usage, line.answer.estimated === true);
        this.#answers.set(name, line.answer);
        return;
      case "results":
        this.#results.set(name, line.calls);
    }
  }
}

function named({ task, sample }: Job): Named {
  return { task: task.id, hash: hashOf(task), sample };
}

function jobName({ task, sample }: Job): string {
  return `${task.id}/${sample}`;
}

function turnName(job: Job, turn: number): string {
  return `${jobName(job)}/${turn}`;
}

/** Of what a teacher is asked; the right answer, which it is not told, may be corrected later. */
function hashOf({ prompt, system, tools, world, check }: Task): number {
  const specs = tools.map(({ name, description, parameters }) => [name, description, parameters]);
  return hashText(JSON.stringify([prompt, system, specs, world, check === "calls"]));
}
