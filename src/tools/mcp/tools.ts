/**
 * The tools of MCP servers as tools of this project.
 *
 * @module
 */

import { LONGEST_TIMER_MS, type Tool, tool } from "../tool.ts";
import type { McpServer } from "./server.ts";
import type { CallToolResult, ListedTool } from "./session.ts";

/** Characters of the longest name of a tool. */
const LONGEST_NAME = 64;

/** A tool and the server that has it. */
interface Offer {
  readonly server: McpServer;
  readonly listed: ListedTool;
}

/**
 * The tools that are wanted of these servers. Names that this project does not take are changed, and
 * where two servers have a tool of one name, both get the server's in front: `server.tool`.
 *
 * @throws {Error} if a server has no tools or lacks one that is wanted, or the description of one is
 * not usable.
 */
export async function mcpTools(servers: readonly McpServer[]): Promise<Tool[]> {
  const offers = (await Promise.all(servers.map(offersOf))).flat();
  const owners = Map.groupBy(offers, ({ listed }) => legal(listed.name));
  const taken = new Set<string>();
  return offers.map((offer) => {
    const { server: { spec }, listed } = offer;
    const short = legal(listed.name);
    const shared = owners.get(short)!.some(({ server }) => server !== offer.server);
    const name = unused(shared ? legal(`${spec.name}.${listed.name}`) : short, taken);
    taken.add(name);
    return toolOf(offer, name);
  });
}

async function offersOf(server: McpServer): Promise<Offer[]> {
  const { name, tools: wanted } = server.spec;
  const listed = await server.list();
  if (listed.length === 0) throw new Error(`MCP server "${name}" has no tools`);
  const missing = wanted?.find((tool) => !listed.some((one) => one.name === tool));
  if (missing !== undefined) {
    const names = listed.map((one) => one.name).join(", ");
    throw new Error(`MCP server "${name}" has no tool "${missing}"; it has ${names}`);
  }
  return listed.filter((one) => wanted?.includes(one.name) ?? true)
    .map((listed) => ({ server, listed }));
}

function toolOf({ server, listed }: Offer, name: string): Tool {
  const { name: own, title = "", description = title, inputSchema } = listed;
  const { $schema: _dialect, ...schema } = inputSchema;
  try {
    return tool({
      ...{ name, description },
      // The server's own time-outs begin when a call is sent, which may be long after it was made.
      timeoutMs: LONGEST_TIMER_MS,
      parameters: { ...schema, type: "object" },
      execute: async (args, context) => valueOf(await server.call(own, args, context)),
    });
  } catch (error) {
    throw new Error(
      `Cannot use "${own}" of MCP server "${server.spec.name}": ${(error as Error).message}. ` +
        'Say which tools are wanted, without this one, in "tools" of the server',
      { cause: error },
    );
  }
}

/** A name of letters, digits, "_", "." and "-" that begins with a letter or "_". */
function legal(name: string): string {
  const plain = name.replaceAll(/[^A-Za-z0-9_.-]/g, "_");
  return (/^[A-Za-z_]/.test(plain) ? plain : `_${plain}`).slice(0, LONGEST_NAME);
}

/** The name, or one made from it that is not taken. */
function unused(name: string, taken: ReadonlySet<string>): string {
  for (let n = 2, made = name;; n++) {
    if (!taken.has(made)) return made;
    made = `${name.slice(0, LONGEST_NAME - 1 - String(n).length)}_${n}`;
  }
}

/**
 * What a call returned: its structured value where there is one, or else its text. What is no text
 * is named, and not shown.
 *
 * @throws {Error} with that text if the tool says that it failed.
 */
function valueOf({ content, structuredContent, isError }: CallToolResult): unknown {
  const text = content.map(textOf).join("\n");
  if (isError) throw new Error(text || "the tool failed without saying why");
  return structuredContent ?? text;
}

function textOf(block: CallToolResult["content"][number]): string {
  switch (block.type) {
    case "text":
      return block.text;
    case "resource":
      return "text" in block.resource
        ? block.resource.text
        : `[${block.resource.mimeType ?? "data"} at ${block.resource.uri}, not shown]`;
    case "resource_link":
      return `[${block.name} at ${block.uri}]`;
    default:
      return `[${block.type}, ${block.mimeType}, not shown]`;
  }
}
