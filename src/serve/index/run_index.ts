/**
 * The index over runs: whatever lists and curves need, in SQLite, read off the folders. The folders
 * are the truth; the file can be deleted at any time and is made again from them.
 *
 * @module
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { join } from "@std/path";
import { CheckpointError, writeError } from "../../io/checkpoint.ts";
import { configJson } from "../../run/config/mod.ts";
import { readProcess } from "../../run/control.ts";
import type { RunEvent } from "../../run/events.ts";
import { isLive, type RunState, runState } from "../../run/state.ts";
import { findRun, type FoundRun, RunFolder, runFolders } from "../../run/store.ts";
import { RunReader } from "./reader.ts";
import { openDatabase, tables } from "./schema.ts";

/** A run as the index has it; times in milliseconds since 1970. */
export interface RunRow {
  readonly id: string;
  readonly created: number;
  readonly state: RunState;
  readonly step: number;
  readonly steps: number | null;
  readonly method: string | null;
  readonly reward: string | null;
  readonly seed: number | null;
  readonly started: number | null;
  readonly ended: number | null;
  readonly message: string | null;
}

/** What the index knew of a run before. */
interface Before {
  readonly state: string;
  readonly steps: number | null;
  readonly last_event: string | null;
  readonly config: string | null;
  readonly message: string | null;
}

/** The name of the file beside the runs. */
const INDEX_NAME = "index.sqlite";

/** How old a change must be for the next one to have another time. */
const SETTLED_MS = 2000;

const COLUMNS = "id, created, state, step, steps, method, reward, seed, started, ended, message";

/** The index over the runs in a folder. */
export class RunIndex implements Disposable {
  /** The folder of the runs. */
  readonly root: string;
  /** For those who read from it. */
  readonly database: DatabaseSync;
  readonly #reader: RunReader;
  readonly #statements = new Map<string, StatementSync>();
  /** When the folders in which nothing goes on changed last, by name. */
  readonly #quiet = new Map<string, number>();

  /**
   * Opens the index of a folder of runs, and makes both if they are not there.
   *
   * @throws {CheckpointError} if they cannot be written
   */
  constructor(root: string) {
    this.root = root;
    const path = join(root, INDEX_NAME);
    try {
      Deno.mkdirSync(root, { recursive: true });
      this.database = openDatabase(path);
    } catch (error) {
      throw writeError(path, error);
    }
    this.#reader = new RunReader(this.database);
  }

  /**
   * Makes the index again from nothing but the folders, run by run: a server that has it open misses
   * none of them meanwhile.
   *
   * @returns how many runs it has
   */
  static rebuild(root: string): number {
    using index = new RunIndex(root);
    const runs = runFolders(root);
    const ids = JSON.stringify(runs.map(({ id }) => id));
    index.#atomically(() => {
      for (const [table, column] of Object.entries(tables)) {
        index.#prepared(
          `DELETE FROM ${table} WHERE ${column} NOT IN (SELECT value FROM json_each(?))`,
        ).run(ids);
      }
    });
    for (const run of runs) {
      index.#atomically(() => {
        index.#forget(run.id);
        index.#readOrDamaged(run);
      });
    }
    while (index.refresh()) { /* There is more to read. */ }
    return index.list({ limit: -1 }).length;
  }

  /** Reads what is new in all folders. @returns whether there is more to read */
  refresh(): boolean {
    let more = false;
    const here = new Set<string>();
    for (const { name, isDirectory } of Deno.readDirSync(this.root)) {
      if (!isDirectory) continue;
      here.add(name);
      more = this.#look(name) || more;
    }
    const known = this.database.prepare("SELECT id FROM runs").all() as { id: string }[];
    for (const { id } of known) if (!here.has(id)) this.#atomically(() => this.#forget(id));
    return more;
  }

  /** Reads what is new in one folder. */
  refreshRun(id: string): void {
    this.#quiet.delete(id);
    this.#look(id);
  }

  /** Runs, newest first. @param after the last one of the page before */
  list(
    { limit, after, state }: { limit: number; after?: string; state?: RunState },
  ): RunRow[] {
    const conditions = [
      ...(state === undefined ? [] : ["state = :state"]),
      ...(after === undefined
        ? []
        : ["(created, id) < (SELECT created, id FROM runs WHERE id = :after)"]),
    ];
    const where = conditions.length > 0 ? `WHERE ${conditions.join(" AND ")}` : "";
    const sql = `SELECT ${COLUMNS} FROM runs ${where} ORDER BY created DESC, id DESC LIMIT :limit`;
    return this.#prepared(sql).all({
      limit,
      ...(state === undefined ? {} : { state }),
      ...(after === undefined ? {} : { after }),
    }) as unknown as RunRow[];
  }

  /** One run; undefined if there is none of that name. */
  get(id: string): (RunRow & { readonly config: string | null }) | undefined {
    return this.#prepared(`SELECT ${COLUMNS}, config FROM runs WHERE id = ?`).get(id) as
      | (RunRow & { config: string | null })
      | undefined;
  }

  /** How many runs there are of each state. */
  counts(): Record<string, number> {
    const rows = this.database.prepare("SELECT state, COUNT(*) AS n FROM runs GROUP BY state")
      .all();
    return Object.fromEntries(rows.map(({ state, n }) => [state as string, n as number]));
  }

  /** Closes the file. */
  close(): void {
    this.database.close();
  }

  /** Same as {@linkcode RunIndex.close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** A statement, which is compiled the first time. */
  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** Reads what is new in a folder, if there can be anything. @returns whether there is more */
  #look(id: string): boolean {
    const changed = changeOf(join(this.root, id));
    if (changed !== null && this.#quiet.get(id) === changed) return false;
    const run = findRun(this.root, id);
    if (!run) {
      this.#atomically(() => this.#forget(id));
      // Nor is it looked into again before it changes.
      if (changed !== null) this.#quiet.set(id, changed);
      return false;
    }
    const { state, more } = this.#atomically(() => this.#readOrDamaged(run));
    // What mends a damaged one need not change the folder itself.
    const goesOn = more || isLive(state) || state === "damaged";
    if (goesOn || changed === null) this.#quiet.delete(id);
    else this.#quiet.set(id, changed);
    return more;
  }

  /** Does all of it or, where it throws, nothing. */
  #atomically<T>(work: () => T): T {
    this.database.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.database.exec("COMMIT");
      return result;
    } catch (error) {
      // Some errors end the transaction by themselves, a full disk for one.
      if (this.database.isTransaction) this.database.exec("ROLLBACK");
      throw error;
    }
  }

  /** Reads what is new of a run; one that cannot be read is shown as damaged, and holds up nobody. */
  #readOrDamaged(run: FoundRun): { state: RunState; more: boolean } {
    try {
      return this.#read(run);
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      // All of it is read again once it can be.
      this.#forget(run.id);
      this.#prepared(
        "INSERT INTO runs (id, created, state, step, message) VALUES (?, ?, 'damaged', 0, ?)",
      ).run(run.id, run.started.getTime(), error.message);
      return { state: "damaged", more: false };
    }
  }

  #read({ id, path, started: created }: FoundRun): { state: RunState; more: boolean } {
    const before = this.#prepared(
      "SELECT state, steps, last_event, config, message FROM runs WHERE id = ?",
    ).get(id) as Before | undefined;
    const news = this.#reader.events(id, path);
    const moreEpisodes = this.#reader.episodes(id, path);
    const kept = news.rewound ? undefined : before;
    const last = news.last ??
      (kept?.last_event ? JSON.parse(kept.last_event) as RunEvent : undefined);
    let config = before?.config ?? null;
    let damage = news.damage ?? (kept?.state === "damaged" ? kept.message : null);
    if (config === null) {
      try {
        config = configJson(RunFolder.open(path).config);
        damage = news.damage;
      } catch (error) {
        damage = (error as Error).message;
      }
    }
    const state = damage === null ? runState(path, last) : "damaged";
    const process = readProcess(path);
    const { method = null, reward = null, seed = null } = config === null ? {} : JSON.parse(config);
    this.#prepared(
      `INSERT OR REPLACE INTO runs (${COLUMNS}, last_event, config) VALUES (${"?, ".repeat(12)}?)`,
    ).run(
      id,
      created.getTime(),
      state,
      last === undefined || last.type === "run-start" ? 0 : last.step,
      news.steps ?? kept?.steps ?? null,
      method,
      reward,
      seed,
      process ? Date.parse(process.started) : null,
      process?.ended === undefined ? null : Date.parse(process.ended),
      damage ?? process?.error ?? (last?.type === "run-end" ? last.message ?? null : null),
      last === undefined ? null : JSON.stringify(last),
      config,
    );
    return { state, more: news.more || moreEpisodes };
  }

  #forget(id: string): void {
    this.#quiet.delete(id);
    for (const [table, column] of Object.entries(tables)) {
      this.database.prepare(`DELETE FROM ${table} WHERE ${column} = ?`).run(id);
    }
  }
}

/**
 * When a folder changed last, in milliseconds: a process that takes a run on, a request and a place
 * in the queue all change it. Null if that is so recent that it may change again unnoticed.
 */
function changeOf(folder: string): number | null {
  try {
    const changed = Deno.statSync(folder).mtime?.getTime() ?? null;
    return changed !== null && changed < Date.now() - SETTLED_MS ? changed : null;
  } catch {
    return null;
  }
}
