/**
 * Every format of task files, and which one a file has.
 *
 * @module
 */

import type { Row, TaskFormat } from "./format.ts";
import { gsm8k } from "./gsm8k.ts";
import { mentorData } from "./mentor_data.ts";
import { own } from "./own.ts";
import { toolace } from "./toolace.ts";
import { toolrl } from "./toolrl.ts";
import { trl } from "./trl.ts";
import { xlam } from "./xlam.ts";

const formats = [own, gsm8k, mentorData, toolrl, xlam, toolace, trl] as const;

/** Every format, in the order in which they are tried. */
export const taskFormats: readonly TaskFormat[] = formats;

/** Name of a format; files of BFCL have one that is not of rows. */
export type TaskFormatName = typeof formats[number]["name"] | "bfcl";

/** Every name. */
export const taskFormatNames: readonly TaskFormatName[] = [
  ...formats.map(({ name }) => name),
  "bfcl",
];

/** The format that some rows have; null if they have none that is known. */
export function detectFormat(rows: readonly Row[]): TaskFormat | null {
  return taskFormats.find((format) => rows.some((row) => format.recognises(row))) ?? null;
}
