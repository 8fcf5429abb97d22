/**
 * Where a run's tools come from: the project's own, modules of the user's, MCP servers, texts.
 *
 * @module
 */

import { resolve, toFileUrl } from "@std/path";
import { builtInTools, toolNames } from "../../tools/built_in.ts";
import { retrievalTool } from "../../tools/retrieval.ts";
import type { Tool } from "../../tools/tool.ts";
import { ConfigError } from "../config/mod.ts";
import { readCorpus } from "./corpus.ts";
import { interpreterNames, openInterpreter } from "./interpreters.ts";
import { openMcpServers } from "./mcp_servers.ts";
import { suggestion } from "../config/suggest.ts";

/** Tools, and what has to be let go of when nobody calls them any more. */
export interface ToolBox extends AsyncDisposable {
  /** By names that differ. */
  readonly tools: readonly Tool[];
}

/** What stands before the path of texts that are to be searched. */
const SEARCH = "search:";

/** The file behind a source; null where that is a name. */
export function toolFile(source: string): string | null {
  if (source.startsWith(SEARCH)) return source.slice(SEARCH.length);
  return /[./\\]/.test(source) ? source : null;
}

/**
 * Opens the tools that `config.tools` names.
 *
 * @throws {ConfigError} if a source has none or is not usable, or two have one of the same name.
 * @throws {ToolUnavailableError} if one can't be had on this machine.
 * @throws {TaskFormatError} naming file and line of what is no text to be searched.
 */
export async function openTools(sources: readonly string[] | null): Promise<ToolBox> {
  await using opened = new AsyncDisposableStack();
  const from = new Map<string, string>();
  const tools: Tool[] = [];
  for (const source of sources ?? ["calculator"]) {
    for (const one of await toolsOf(source, opened)) {
      const other = from.get(one.name);
      if (other !== undefined) {
        throw new ConfigError(
          `Cannot use tools = "${other}" and "${source}" together: both have a tool "${one.name}"`,
        );
      }
      from.set(one.name, source);
      tools.push(one);
    }
  }
  const kept = opened.move();
  return { tools, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function toolsOf(source: string, opened: AsyncDisposableStack): Promise<readonly Tool[]> {
  const file = toolFile(source);
  if (file === null) {
    const interpreter = await openInterpreter(source);
    return interpreter ? [opened.use(interpreter)] : namedTools(source);
  }
  if (source.startsWith(SEARCH)) return [retrievalTool(await readCorpus(file))];
  if (file.endsWith(".json")) return opened.use(await openMcpServers(file)).tools;
  return await importTools(file);
}

function namedTools(name: string): readonly Tool[] {
  const found = builtInTools(name);
  if (found) return found;
  const names = [...toolNames, ...interpreterNames];
  throw new ConfigError(
    `Cannot use tools = "${name}": built-in ones are ${names.join(", ")}` +
      `${suggestion(name, names)}. The path of a file has a dot or a slash in it`,
  );
}

/** Tools exported by a module of the user's. */
async function importTools(path: string): Promise<Tool[]> {
  const module = await import(toFileUrl(resolve(path)).href);
  const tools = Object.values(module).flat().filter((value): value is Tool =>
    typeof (value as Tool)?.execute === "function" && typeof (value as Tool).name === "string"
  );
  if (tools.length === 0) {
    throw new ConfigError(
      `Cannot use tools = "${path}": the module exports none; export what tool() returns`,
    );
  }
  return tools;
}
