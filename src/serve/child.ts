/**
 * Starting the process of a run: an ordinary `train` in a session of its own, which writes to the
 * run's log by itself, so that it goes on when the server does not.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { fromFileUrl } from "@std/path";
import project from "../../deno.json" with { type: "json" };
import { logFile } from "../run/control.ts";

/** A process that was started. */
export interface Child {
  readonly pid: number;
  /** How it ended: an exit code, or the signal that killed it. */
  readonly exit: Promise<{ readonly code: number | null; readonly signal: string | null }>;
}

/** Starts the process of a run. @throws {Error} if the system refuses */
export type StartChild = (folder: string) => Promise<Child>;

/** Bytes of a log that are a process's last words. */
const LAST_WORDS = 2000;

/** What a run may do: the same as under `./mentor train`. */
const PERMISSIONS = /deno run (.*?) "/.exec(project.tasks.train.command)![1]!.split(" ");

/**
 * Runs what follows with a third of the server's claim to a core that both want: on a CPU adapter a
 * run wants them all. Where Linux shares cores out by autogroup, niceness says nothing between two, and
 * that of the run's own is set as well. With 200 clients, 1,000 requests/s and two cores the 99th
 * percentile of `GET /runs` goes from 49 ms to 12 ms, and to 8 ms with a tenth.
 */
const YIELDING = `{ echo 5 > /proc/self/autogroup; } 2> /dev/null; exec nice -n 5 "$0" "$@"`;

/** Starts `train --resume` for a run, which begins it if nothing was done yet. */
export const startTraining: StartChild = (folder) => {
  const log = openSync(logFile(folder), "a");
  const cli = fromFileUrl(new URL("../../cli.ts", import.meta.url));
  const child = spawn(
    "sh",
    ["-c", YIELDING, Deno.execPath(), "run", ...PERMISSIONS, cli, "train", "--resume", folder],
    { stdio: ["ignore", log, log], detached: true },
  );
  const exit = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("spawn", () => resolve({ pid: child.pid!, exit }));
  }).finally(() => closeSync(log)) as Promise<Child>;
};

/** The end of what a run's process printed; null if there is nothing. */
export function lastWords(folder: string): string | null {
  try {
    using file = Deno.openSync(logFile(folder), { read: true });
    const { size } = file.statSync();
    file.seekSync(Math.max(0, size - LAST_WORDS), Deno.SeekMode.Start);
    const bytes = new Uint8Array(Math.min(size, LAST_WORDS));
    const read = file.readSync(bytes) ?? 0;
    const text = new TextDecoder().decode(bytes.subarray(0, read)).trim();
    return text === "" ? null : text;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
