/**
 * The tables of the index over runs, and how an older file becomes one of these.
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";

/** What each version added to the one before; the file's `user_version` counts them. */
const migrations: readonly string[] = [
  `CREATE TABLE runs (
     id TEXT PRIMARY KEY,
     created INTEGER NOT NULL,    -- milliseconds since 1970, as all times here
     state TEXT NOT NULL,
     step INTEGER NOT NULL,
     steps INTEGER,               -- of the whole run; null before it begins
     method TEXT, reward TEXT, seed INTEGER,
     started INTEGER, ended INTEGER,
     message TEXT,                -- why it failed, or what is damaged
     last_event TEXT,             -- as in events.jsonl
     config TEXT                  -- as in config.json
   ) STRICT;
   CREATE INDEX runs_by_age ON runs (created, id);
   CREATE TABLE tails (           -- how far the files of a run have been read
     run TEXT NOT NULL, name TEXT NOT NULL,
     position INTEGER NOT NULL, lines INTEGER NOT NULL, inode INTEGER NOT NULL,
     witness BLOB NOT NULL,
     PRIMARY KEY (run, name)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE metrics (
     run TEXT NOT NULL, name TEXT NOT NULL, step INTEGER NOT NULL,
     time INTEGER NOT NULL, value REAL NOT NULL,
     PRIMARY KEY (run, name, step)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE episodes (
     run TEXT NOT NULL, line INTEGER NOT NULL,
     position INTEGER NOT NULL, length INTEGER NOT NULL,   -- bytes in episodes.jsonl
     step INTEGER NOT NULL, "group" INTEGER NOT NULL, sample INTEGER NOT NULL,
     task TEXT, reward REAL, correct INTEGER NOT NULL,
     PRIMARY KEY (run, line)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX episodes_by_step ON episodes (run, step, line);`,
  `CREATE INDEX runs_by_state ON runs (state, created, id);`,
];

/** Every table, and its column with the name of the run. */
export const tables = { runs: "id", tails: "run", metrics: "run", episodes: "run" } as const;

/**
 * Opens the index, and makes or renews its tables. A file that is damaged, or of a version that this
 * one does not know, is made again: it holds nothing that the folders do not.
 */
export function openDatabase(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path);
    migrate(database);
    return database;
  } catch (error) {
    database?.close();
    if (!isUnusable(error)) throw error;
    for (const ending of ["", "-wal", "-shm"]) removeIfThere(path + ending);
    database = new DatabaseSync(path);
    migrate(database);
    return database;
  }
}

class UnknownVersionError extends Error {}

function migrate(database: DatabaseSync): void {
  database.exec(
    "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
  );
  const { user_version: version } = database.prepare("PRAGMA user_version").get() as {
    user_version: number;
  };
  if (version > migrations.length) throw new UnknownVersionError(`Version ${version}`);
  for (const [i, migration] of migrations.entries()) {
    if (i < version) continue;
    database.exec(`BEGIN IMMEDIATE; ${migration}; PRAGMA user_version = ${i + 1}; COMMIT`);
  }
}

function isUnusable(error: unknown): boolean {
  // Deno 2.9 passes on SQLite's words, and not its number.
  return error instanceof UnknownVersionError ||
    /file is not a database|disk image is malformed/.test((error as Error).message);
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
