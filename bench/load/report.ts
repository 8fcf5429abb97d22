/**
 * What the load bench found, for people and for machines.
 *
 * @module
 */

import { renderTable } from "../report.ts";
import type { Pairs } from "./pairs.ts";

/** Milliseconds from when a request was due to the end of its answer. */
export interface Latencies {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly most: number;
}

/** What the server does under load. */
export interface LoadReport {
  /** Processes that wanted a core before it began, as a mean over a minute: others disturb it. */
  readonly loadAverage: number;
  /** That watch events. */
  readonly clients: number;
  readonly requestsPerSecond: number;
  readonly training: Pairs;
  /** The server's share of one core: without clients, with them, and with requests as well. */
  readonly serverCpu: { readonly alone: number; readonly watched: number; readonly asked: number };
  /** The server's memory in bytes, in the first and last third of a minute with all of them. */
  readonly resident: { readonly begin: number; readonly end: number; readonly most: number };
  /** Of `GET /runs`. */
  readonly runs: Latencies;
  /** Of an empty handler, by turns with these. */
  readonly empty: Latencies;
}

/** What is to hold, as in {@linkcode misses}. */
const TARGETS = { slowdown: 0.05, p99Ms: 50, residentGrowth: 0.1 };

/** What exceeds its target, for people; empty where all is well. */
export function misses({ training, runs, resident }: LoadReport): string[] {
  const found: string[] = [];
  if (training.change < -TARGETS.slowdown) {
    found.push(`training lost ${percent(-training.change)}, the target is 5 %`);
  }
  if (runs.p99 > TARGETS.p99Ms) found.push(`p99 of ${runs.p99.toFixed(1)} ms, the target is 50 ms`);
  const growth = resident.end / resident.begin - 1;
  if (growth > TARGETS.residentGrowth) found.push(`memory grew by ${percent(growth)}`);
  return found;
}

/** The report as a table. */
export function renderLoad(report: LoadReport): string {
  const { training, serverCpu, resident, runs, empty } = report;
  const found = misses(report);
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  const times = ({ count, p50, p99, most }: Latencies) =>
    `p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, most ${most.toFixed(1)} ms of ${count}`;
  return renderTable([
    ["load", `${report.clients} clients watch, ${report.requestsPerSecond} requests/s`],
    ["before it", `load average ${report.loadAverage.toFixed(2)}`],
    [
      "step",
      `${training.aloneMs.toFixed(0)} ms without clients, ${
        training.watchedMs.toFixed(0)
      } ms with ` +
      `them, the same ${training.steps} steps`,
    ],
    ["throughput", `${percent(training.change)} (${training.ci95.map(percent).join(" to ")})`],
    [
      "server",
      `${percent(serverCpu.alone)} of a core without clients, ${percent(serverCpu.watched)} with ` +
      `them, ${percent(serverCpu.asked)} with requests`,
    ],
    [
      "its memory",
      `${megabytes(resident.begin)} in the first third of a minute with requests, ` +
      `${megabytes(resident.end)} in the last, ${megabytes(resident.most)} at most`,
    ],
    ["GET /runs", times(runs)],
    ["empty app", times(empty)],
    ["ratio", `p50 ${(runs.p50 / empty.p50).toFixed(2)}, p99 ${(runs.p99 / empty.p99).toFixed(2)}`],
    ["targets", found.length > 0 ? `missed: ${found.join("; ")}` : "met"],
  ], []);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
