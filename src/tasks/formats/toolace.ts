/**
 * ToolACE's conversations (`Team-ACE/ToolACE`), and others in ShareGPT's form: turns of `from` and
 * `value`, calls as Python or JSON. The tools are a column, or a JSON list in the system text.
 *
 * @module
 */

import { PythonReader } from "../../text/calls/python_reader.ts";
import { isRecord } from "../../text/json_value.ts";
import { parameterNames } from "../../text/tool_call.ts";
import { untyped } from "../../text/typed_json.ts";
import type { Tool } from "../../tools/tool.ts";
import { callOf, type ConversationCall, conversationTask, type Turn } from "./conversation.ts";
import { byName, declaredTools, toolName } from "./declarations.ts";
import {
  jsonOf,
  listOf,
  type Row,
  type RowContext,
  RowError,
  type TaskFormat,
  textOf,
} from "./format.ts";

/** Who speaks, by the names that data sets have for them. */
const roles = new Map<string, "system" | "user" | "assistant" | "call" | "tool">([
  ...[["system", "system"], ["user", "user"], ["human", "user"]] as const,
  ...[["assistant", "assistant"], ["gpt", "assistant"], ["function_call", "call"]] as const,
  ...[["tool", "tool"], ["observation", "tool"], ["function_response", "tool"]] as const,
]);

/** What a list of calls begins with. */
const CALLS = /^\[\s*[^\s[\](),{}"'][^[\](),{}"']*\(/;

/** A tool's name, which may have spaces in it. */
const NAME = /[^\s[\](),{}"'][^[\](),{}"']*?(?=\s*\()/y;

/** A conversation per row. */
export const toolace = {
  name: "toolace",
  columns: "conversations, and system or tools",
  recognises: ({ conversations }) => conversations !== undefined,
  read(row, context) {
    const messages = listOf(jsonOf(row.conversations, "conversations"), "conversations", "turns");
    const system = typeof row.system === "string" ? row.system : undefined;
    const tools = toolsOf(row, system, context);
    const known = byName(tools);
    const turns = messages.flatMap((message): Turn[] => {
      const { from, value } = isRecord(message) ? message : {};
      const role = roles.get(textOf(from, "conversations[].from"));
      if (role === undefined) {
        const reason = '"conversations[].from" is nobody known';
        const known = [...roles.keys()].join(", ");
        throw new RowError(`${reason}: ${JSON.stringify(from)}; known are ${known}`, reason);
      }
      if (role === "system") return [];
      const text = textOf(value, "conversations[].value").trim();
      if (role === "user") return [{ role, text }];
      if (role === "tool") return [{ role, result: text }];
      if (role === "call") {
        const calls = [jsonOf(text, "conversations[].value")].flat();
        return [{
          role: "assistant",
          text: "",
          calls: calls.map((call) => callOf(call, "conversations[].value")),
        }];
      }
      if (!CALLS.test(text)) return [{ role, text, calls: [] }];
      return [{ role, text: "", calls: pythonCalls(text, known) }];
    });
    return conversationTask({ tools, turns: withSharedResults(turns) }, "toolace", context);
  },
} as const satisfies TaskFormat;

function toolsOf(row: Row, system: string | undefined, context: RowContext): Tool[] {
  if (row.tools !== undefined && row.tools !== null) {
    return declaredTools(row.tools, "tools", context);
  }
  const list = system?.indexOf("[{") ?? -1;
  if (system === undefined || list < 0) return [];
  // Whatever follows the list: its end is where the text up to there is JSON.
  for (let end = system.lastIndexOf("}]"); end > list; end = system.lastIndexOf("}]", end - 1)) {
    try {
      return declaredTools(JSON.parse(system.slice(list, end + 2)), "system", context);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  throw new RowError("the list of tools in the system text is not JSON");
}

/** Reads `[name(a=1), other name(b="x")]`. */
function pythonCalls(text: string, known: ReadonlyMap<string, Tool>): ConversationCall[] {
  const calls: ConversationCall[] = [];
  const reader = new PythonReader(text, 0);
  try {
    reader.expect("[");
    reader.list("]", () => {
      const { name: written, positional, named } = reader.call(NAME);
      const name = toolName(written);
      const tool = known.get(name);
      const names = tool ? parameterNames(tool) : [];
      const placed = positional.map((value, i) => [names[i] ?? String(i), value]);
      const args = untyped(Object.fromEntries([...placed, ...named]));
      calls.push({ name, arguments: args as Record<string, unknown> });
    });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new RowError(`calls cannot be read: ${error.message}`, "calls cannot be read");
  }
  return calls;
}

/** Where one turn has the results of several calls as a JSON list, a turn for each. */
function withSharedResults(turns: readonly Turn[]): Turn[] {
  return turns.flatMap((turn, i): Turn[] => {
    const before = turns[i - 1];
    if (turn.role !== "tool" || before?.role !== "assistant" || before.calls.length < 2) {
      return [turn];
    }
    let results: unknown;
    try {
      results = JSON.parse(turn.result as string);
    } catch {
      return [turn]; // a text of its own
    }
    if (!Array.isArray(results) || results.length !== before.calls.length) return [turn];
    return results.map((result) => ({ role: "tool", result }));
  });
}
