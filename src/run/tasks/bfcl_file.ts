/**
 * A file of the Berkeley Function Calling Leaderboard as a file of tasks. It is no format of rows: what
 * answers a question stands in another file, and what is asked is told by the file's name.
 *
 * @module
 */

import { bfclCategories, type BfclCategory, hasAnswers, parseBfcl } from "../../tasks/bfcl/read.ts";
import { total } from "../../tasks/formats/reader.ts";
import { ConfigError } from "../config/mod.ts";
import type { TaskFile } from "./file.ts";

/** How files are named, for people. */
export const BFCL_NAME = "BFCL_v4_CATEGORY.json";

/** The name of a category's file of questions, and of that of its answers. */
export function bfclFileName(category: BfclCategory): string {
  return BFCL_NAME.replace("CATEGORY", category);
}

/** The category whose questions are in a file, by its name; null if that is none of the benchmark's. */
export function bfclCategoryOf(source: string): BfclCategory | null {
  const name = /(?:^|[/\\])BFCL_v4_(\w+)\.json$/.exec(source)?.[1];
  return bfclCategories.find((category) => category === name) ?? null;
}

/**
 * Reads a category; its answers are in the folder `possible_answer` beside it.
 *
 * @param options read so many questions only; count malformed ones in place of stopping at the first
 * @param read gives the text of a file
 * @throws {ConfigError} if the file's name tells no category
 * @throws {TaskFormatError} naming file, line and what is wrong
 */
export async function readBfclFile(
  source: string,
  { limit, skipInvalid = false }: { readonly limit: number | null; readonly skipInvalid?: boolean },
  read: (source: string) => Promise<string>,
): Promise<TaskFile> {
  const category = bfclCategoryOf(source);
  if (category === null) {
    throw new ConfigError(
      `Cannot read "${source}" as a file of BFCL: it is not named ${BFCL_NAME} with one of the ` +
        `categories ${bfclCategories.join(", ")}`,
    );
  }
  const answers = source.replace(/[^/\\]+$/, "possible_answer/$&");
  const { tasks, leftOut, invalid } = parseBfcl(category, {
    questions: { source, text: await read(source) },
    ...(hasAnswers(category) ? { answers: { source: answers, text: await read(answers) } } : {}),
    ...(limit === null ? {} : { limit }),
    skipInvalid,
  });
  const rows = tasks.length + total(leftOut) + total(invalid);
  return { source, format: "bfcl", rows, tasks, leftOut, invalid };
}
