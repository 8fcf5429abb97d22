/**
 * Where an MCP server is, and what is wanted of it.
 *
 * @module
 */

/** A program that is started, and talked to over its standard input and output. */
export interface McpProgram {
  readonly command: string;
  readonly args: readonly string[];
  /** Beside the few variables that every server gets. */
  readonly env: Readonly<Record<string, string>>;
  /** Folder to start it in; null is that of this process. */
  readonly cwd: string | null;
}

/** A server that is there already (streamable HTTP). */
export interface McpEndpoint {
  readonly url: string;
  /** Of every request. */
  readonly headers: Readonly<Record<string, string>>;
}

/** A server. */
export interface McpServerSpec {
  /** What its user calls it. */
  readonly name: string;
  readonly place: McpProgram | McpEndpoint;
  /** The tools that are wanted; null is all that there are. */
  readonly tools: readonly string[] | null;
  /** Milliseconds until a call is given up. */
  readonly timeoutMs: number;
  /** What else may be secret: variables of the environment that its arguments or address have. */
  readonly secrets?: readonly string[];
}

/** Shorter texts are as likely to be part of a word as to be a secret. */
const SHORTEST_SECRET = 8;

/**
 * A text of the server's without the values of variables and headers, which may be secrets, and
 * without the words of these: what follows "Bearer" is one by itself.
 */
export function withoutSecrets({ place, secrets = [] }: McpServerSpec, text: string): string {
  return [...Object.values("url" in place ? place.headers : place.env), ...secrets]
    .flatMap((value) => [value, ...value.split(/\s+/)])
    .filter((value) => value.length >= SHORTEST_SECRET)
    // One may be the beginning of another.
    .sort((a, b) => b.length - a.length)
    .reduce((rest, secret) => rest.replaceAll(secret, "***"), text);
}
