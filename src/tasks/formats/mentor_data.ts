/**
 * The data of the MENTOR paper (`MENTOR-RL/MENTOR-data`), in verl's columns: `question`,
 * `reward_model.ground_truth`, the tools in `extra_info.func_schemas`, and in `tool_calls_used` the
 * names of those that the teacher called. Objects and lists may be JSON in a text.
 *
 * The tools' Python source (`extra_info.env`) is not run: whoever wants them run offers tools of the
 * same names. Of the teacher's calls only the names are known.
 *
 * @module
 */

import { isRecord } from "../../text/json_value.ts";
import type { Tool } from "../../tools/tool.ts";
import type { Reference, Task } from "../task.ts";
import { checkOf } from "./conversation.ts";
import { byName, calledTool, declaredTools, toolName } from "./declarations.ts";
import { jsonOf, listOf, type Row, RowError, type TaskFormat, textOf } from "./format.ts";

/** A problem per row. */
export const mentorData = {
  name: "mentor-data",
  columns: "question, reward_model, extra_info, tool_calls_used",
  recognises: ({ question, reward_model }) => question !== undefined && reward_model !== undefined,
  read(row, context): Task | string {
    const answers = answersOf(row);
    if (answers.length > 1) return "several right answers";
    const answer = answers[0]!;
    const extra = jsonOf(row.extra_info ?? {}, "extra_info");
    const { func_schemas: schemas = [] } = isRecord(extra) ? extra : {};
    const tools = declaredTools(schemas, "extra_info.func_schemas", context);
    const { data_source: source } = row;
    return {
      id: `mentor-data-${context.line}`,
      domain: typeof source === "string" && source !== "" ? source : "mentor-data",
      split: "train",
      prompt: textOf(row.question, "question"),
      tools,
      answer,
      check: checkOf(answer),
      reference: referenceOf(row, tools, answer),
    };
  },
} as const satisfies TaskFormat;

/** The right answers, each once. */
function answersOf(row: Row): string[] {
  const model = jsonOf(row.reward_model, "reward_model");
  const truth = isRecord(model) ? model.ground_truth : undefined;
  const all = [truth ?? []].flat().map((each) =>
    textOf(typeof each === "number" ? String(each) : each, "reward_model.ground_truth")
  );
  if (all.length === 0) throw new RowError('"reward_model.ground_truth" is missing');
  return [...new Set(all)];
}

function referenceOf(row: Row, tools: readonly Tool[], answer: string): Reference | null {
  if (row.tool_calls_used === undefined || row.tool_calls_used === null) return null;
  const used = listOf(jsonOf(row.tool_calls_used, "tool_calls_used"), "tool_calls_used", "names");
  const names = new Set(used.map((name) => toolName(textOf(name, "tool_calls_used"))));
  const known = byName(tools);
  for (const name of names) calledTool(name, known);
  // A teacher that has called nothing leaves nothing open.
  if (names.size === 0) return { calls: [], answer };
  const calls = [...names].map((name) => ({ name, arguments: {} }));
  return { calls, answer, namesOnly: true };
}
