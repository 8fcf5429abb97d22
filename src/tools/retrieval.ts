/**
 * A tool that searches a collection of texts (BM25+, by MiniSearch), for questions whose answer has
 * to be looked up.
 *
 * @module
 */

import MiniSearch from "minisearch";
import { type Tool, tool } from "./tool.ts";

/** A text to be found. */
export interface Passage {
  /** Counts twice as much as the text, and is shown above it. */
  readonly title?: string;
  /** What is searched, and shown. */
  readonly text: string;
}

/** How to search. */
export interface RetrievalOptions {
  /** Name of the tool; default `search`. */
  readonly name?: string;
  /** For the model; by default that the tool searches. */
  readonly description?: string;
  /** Passages shown at most; default 3. */
  readonly top?: number;
  /** Characters shown of each; default 400. */
  readonly maxCharacters?: number;
}

const TITLE_WEIGHT = 2;
/** The most bytes of UTF-8 that a UTF-16 unit takes. */
const BYTES = 3;

/**
 * Makes a tool that searches. The same query has the same result: passages as good as each other are
 * in the order of the collection.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { retrievalTool } from "./retrieval.ts";
 * import { callTool } from "./tool.ts";
 *
 * const search = retrievalTool([{ title: "Oslo", text: "The capital of Norway." }]);
 * assertEquals((await callTool(search, { query: "norway" }, {})).text, "Oslo: The capital of Norway.");
 * ```
 *
 * @throws {RangeError} if there are no passages, or a limit is not a positive integer.
 */
export function retrievalTool(
  passages: readonly Passage[],
  {
    name = "search",
    description = "Searches a collection of texts and returns the passages that fit a query best",
    top = 3,
    maxCharacters = 400,
  }: RetrievalOptions = {},
): Tool {
  if (passages.length === 0) throw new RangeError("Cannot search: there are no passages");
  for (const [limit, value] of Object.entries({ top, maxCharacters })) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw new RangeError(`Cannot search: ${limit} must be a positive integer, got ${value}`);
  }
  const index = new MiniSearch<Passage & { readonly id: number }>({ fields: ["title", "text"] });
  index.addAll(passages.map(({ title = "", text }, id) => ({ id, title, text })));
  const shown = passages.map(({ title, text }) => {
    const whole = title === undefined ? text : `${title}: ${text}`;
    if (whole.length <= maxCharacters) return whole;
    // Half of a character is none.
    return `${whole.slice(0, maxCharacters).replace(/[\uD800-\uDBFF]$/, "")}...`;
  });
  return tool({
    ...{ name, description },
    parameters: {
      type: "object",
      properties: { query: { type: "string" } },
      required: ["query"],
      additionalProperties: false,
    },
    execute({ query }) {
      const found = index.search(query as string, { boost: { title: TITLE_WEIGHT } })
        .sort((a, b) => b.score - a.score || a.id - b.id).slice(0, top);
      return found.length === 0 ? "nothing found" : found.map(({ id }) => shown[id]).join("\n");
    },
    maxResultBytes: Math.max(64, top * (maxCharacters + 4) * BYTES),
  });
}
