/**
 * Collections of texts as files: JSONL with `title` and `text`, or with `contents` whose first line is
 * the title, as retrieval tools have them.
 *
 * @module
 */

import { jsonLines } from "../../tasks/rows/json.ts";
import { soundRows } from "../../tasks/rows/row.ts";
import { TaskFormatError } from "../../tasks/task.ts";
import type { Passage } from "../../tools/retrieval.ts";
import { ConfigError } from "../config/run_config.ts";

/**
 * Reads a collection.
 *
 * @throws {ConfigError} if there is no such file, or nothing in it.
 * @throws {TaskFormatError} naming file and line of what is no text.
 */
export async function readCorpus(path: string): Promise<Passage[]> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    throw new ConfigError(`Cannot search "${path}": ${(error as Error).message}. Check the path`);
  }
  const passages = Array.from(
    soundRows(jsonLines(text), path),
    ({ line, value }) => passageOf(value, (problem) => new TaskFormatError(path, line, problem)),
  );
  if (passages.length === 0) throw new ConfigError(`Cannot search "${path}": it holds no text`);
  return passages;
}

function passageOf(
  { title, text, contents }: Record<string, unknown>,
  refusal: (problem: string) => TaskFormatError,
): Passage {
  if (text === undefined && typeof contents === "string") {
    const [first = "", ...rest] = contents.split("\n");
    const body = rest.join("\n").trim();
    if (body !== "") return { title: first.replaceAll(/^"|"$/g, ""), text: body };
    return passageOf({ title, text: contents }, refusal);
  }
  if (typeof text !== "string" || text.trim() === "") {
    throw refusal('a text has "text", or "contents" with its title in the first line');
  }
  if (title === undefined || title === null) return { text };
  if (typeof title !== "string") throw refusal('"title" must be a string');
  return { title, text };
}
