/**
 * The official client of the Model Context Protocol, loaded by the first run that uses a server.
 *
 * @module
 */

import type * as Client from "@modelcontextprotocol/client";
import type * as Stdio from "@modelcontextprotocol/client/stdio";

/** What is used of it. */
export type McpSdk = Pick<
  typeof Client & typeof Stdio,
  "Client" | "ProtocolError" | "SdkError" | "StdioClientTransport" | "StreamableHTTPClientTransport"
>;

// Deno downloads what it can see in the graph of imports, whether or not that is ever imported. With
// the name in a variable, and `npm-lazy-caching` in deno.json, other commands do without these 13
// packages of 19 MB.
const NAME: string = "@modelcontextprotocol/client";

/**
 * Loads it.
 *
 * @throws {Error} if the package cannot be had.
 */
export async function loadMcpSdk(): Promise<McpSdk> {
  try {
    const client: typeof Client = await import(NAME);
    const stdio: typeof Stdio = await import(`${NAME}/stdio`);
    return { ...client, ...stdio };
  } catch (error) {
    throw new Error(
      `Cannot use MCP servers: npm's ${NAME} cannot be loaded (${(error as Error).message}). ` +
        "The first use needs access to the npm registry",
      { cause: error },
    );
  }
}
