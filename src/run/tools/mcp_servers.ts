/**
 * MCP servers as the files of other clients name them: `{ "mcpServers": { "name": { ... } } }`.
 *
 * @module
 */

import * as v from "valibot";
import { isRecord } from "../../text/json_value.ts";
import { loadMcpSdk } from "../../tools/mcp/sdk.ts";
import { McpServer } from "../../tools/mcp/server.ts";
import type { McpProgram, McpServerSpec } from "../../tools/mcp/spec.ts";
import { mcpTools } from "../../tools/mcp/tools.ts";
import type { Tool } from "../../tools/tool.ts";
import { ConfigError } from "../config/run_config.ts";

/** Milliseconds that a call may take where the file does not say. */
const TIMEOUT_MS = 30_000;

/** What a server may need to reach the network, beside what the client gives to every program. */
const NETWORK = [
  ...["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"].flatMap((name) => [
    name,
    name.toLowerCase(),
  ]),
  ...["SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "DENO_CERT", "DENO_DIR"],
];

const text = v.pipe(v.string(), v.nonEmpty());
const named = v.record(v.string(), v.string());
const wanted = {
  tools: v.optional(v.nullable(v.pipe(v.array(text), v.nonEmpty())), null),
  timeout: v.optional(v.pipe(v.number(), v.gtValue(0), v.maxValue(86_400_000)), TIMEOUT_MS),
};
const program = v.object({
  type: v.optional(v.literal("stdio")),
  command: text,
  args: v.optional(v.array(v.string()), []),
  env: v.optional(named, {}),
  cwd: v.optional(v.nullable(text), null),
  ...wanted,
});
const endpoint = v.object({
  type: v.optional(v.picklist(["http", "streamable-http", "streamableHttp"])),
  url: v.pipe(v.string(), v.url()),
  headers: v.optional(named, {}),
  ...wanted,
});
const file = v.object({
  mcpServers: v.pipe(
    v.record(v.string(), v.record(v.string(), v.unknown())),
    v.check((servers) => Object.keys(servers).length > 0, "there are no servers"),
  ),
});

/** Tools of servers, and the servers to be let go of. */
export interface McpToolBox extends AsyncDisposable {
  readonly tools: readonly Tool[];
}

/**
 * Starts or reaches the servers of a file.
 *
 * @throws {ConfigError} if the file is not usable, or a server or tool cannot be had.
 */
export async function openMcpServers(path: string): Promise<McpToolBox> {
  const specs = readMcpServers(path);
  await using opened = new AsyncDisposableStack();
  try {
    const sdk = await loadMcpSdk();
    const started = await Promise.allSettled(specs.map((spec) => McpServer.open(sdk, spec)));
    // Those that did start must end, whatever became of the others.
    const servers = started.flatMap((one) => "value" in one ? opened.use(one.value) : []);
    const failed = started.find((one) => "reason" in one);
    if (failed) throw failed.reason;
    const tools = await mcpTools(servers);
    const kept = opened.move();
    return { tools, [Symbol.asyncDispose]: () => kept.disposeAsync() };
  } catch (error) {
    throw new ConfigError(`Cannot use tools = "${path}": ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/**
 * The servers that a file names, with `${NAME}` and `${NAME:-default}` in its texts replaced by
 * variables of the environment.
 *
 * @throws {ConfigError} if it is not usable.
 */
export function readMcpServers(path: string): McpServerSpec[] {
  const fail = (problem: string): never => {
    throw new ConfigError(`Cannot use tools = "${path}": ${problem}`);
  };
  let value: unknown;
  try {
    value = JSON.parse(Deno.readTextFileSync(path));
  } catch (error) {
    fail((error as Error).message);
  }
  const parsed = v.safeParse(file, value);
  if (!parsed.success) fail(problemOf(parsed.issues[0], ""));
  const { mcpServers } = parsed.output as v.InferOutput<typeof file>;
  return Object.entries(mcpServers).map(([name, raw]) => {
    const where = `mcpServers.${name}`;
    const secrets = new Set<string>();
    const lookUp = (variable: string) => {
      const value = Deno.env.get(variable);
      if (value !== undefined) secrets.add(value);
      return value;
    };
    const server = expand(raw, where, lookUp, fail) as typeof raw;
    if (("command" in server) === ("url" in server)) {
      fail(`${where} needs either a "command" or a "url"`);
    }
    const result = v.safeParse("url" in server ? endpoint : program, server);
    if (!result.success) fail(problemOf(result.issues[0], where));
    const { tools, timeout: timeoutMs, ...rest } = result.output as v.InferOutput<
      typeof program | typeof endpoint
    >;
    const place = "url" in rest ? rest : withNetwork(rest);
    return { name, tools, timeoutMs, place, secrets: [...secrets] };
  });
}

function problemOf(issue: v.BaseIssue<unknown>, where: string): string {
  const keys = (issue.path ?? []).map(({ key }) => String(key));
  const place = [where, ...keys].filter((part) => part !== "").join(".");
  return `${place || "the file"}: ${issue.message}`;
}

/** What programs get of the environment so that they can be downloaded, and reach what they serve. */
function withNetwork(
  { command, args, env, cwd }: McpProgram,
): McpProgram {
  const network = NETWORK.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  });
  return {
    // The Deno that runs this may not be where programs are looked for.
    command: command === "deno" ? Deno.execPath() : command,
    ...{ args, cwd, env: { ...Object.fromEntries(network), ...env } },
  };
}

/** A value with the variables in all its texts replaced. */
function expand(
  value: unknown,
  where: string,
  lookUp: (variable: string) => string | undefined,
  fail: (problem: string) => never,
): unknown {
  const inner = (item: unknown, key: string | number) =>
    expand(item, `${where}.${key}`, lookUp, fail);
  if (Array.isArray(value)) return value.map(inner);
  if (isRecord(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, inner(item, key)]),
    );
  }
  if (typeof value !== "string") return value;
  return value.replaceAll(
    /\$\{(\w+)(?::-([^}]*))?\}/g,
    (_, name: string, fallback?: string) =>
      lookUp(name) ?? fallback ??
        fail(
          `${where} needs the environment variable ${name}, which is not set. Set it, or give a ` +
            `default: \${${name}:-default}`,
        ),
  );
}
