/**
 * xLAM's single-turn function calling (`Salesforce/xlam-function-calling-60k`, and what others have
 * made in its form): a query, the tools on offer, and the calls that answer it.
 *
 * @module
 */

import { callOf, conversationTask } from "./conversation.ts";
import { declaredTools } from "./declarations.ts";
import { jsonOf, listOf, type TaskFormat, textOf } from "./format.ts";

/** `tools` and `answers` are lists, or texts that have them as JSON. */
export const xlam = {
  name: "xlam",
  columns: "query, tools, answers",
  recognises: ({ query, tools, answers }) =>
    query !== undefined && tools !== undefined && answers !== undefined,
  read({ query, tools, answers }, context) {
    const calls = listOf(jsonOf(answers, "answers"), "answers", "calls")
      .map((call) => callOf(call, "answers"));
    return conversationTask(
      {
        tools: declaredTools(tools, "tools", context),
        turns: [
          { role: "user", text: textOf(query, "query") },
          { role: "assistant", text: null, calls },
        ],
      },
      "xlam",
      context,
    );
  },
} as const satisfies TaskFormat;
