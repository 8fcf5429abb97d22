// An MCP server by hand: JSON-RPC over standard input and output as a program, or over HTTP. What it
// does wrong is told by the tool that is called, or by the program's arguments.

/** A message of JSON-RPC. */
interface Message {
  id?: number;
  method?: string;
  params?: { cursor?: string; name?: string; arguments?: Record<string, unknown> };
}

const nothing = { type: "object", properties: {} };
const tools = [
  {
    name: "sum",
    description: "Adds two numbers",
    inputSchema: {
      $schema: "http://json-schema.org/draft-07/schema#",
      type: "object",
      properties: { a: { type: "number" }, b: { type: "number" } },
      required: ["a", "b"],
    },
  },
  {
    name: "add",
    description: "Adds two numbers, unless the first one is even",
    inputSchema: {
      type: "object",
      properties: { a: { type: "number" }, b: { type: "number" } },
      required: ["a", "b"],
    },
  },
  { name: "die", description: "Ends the server", inputSchema: nothing },
  { name: "hang", description: "Never answers", inputSchema: nothing },
  { name: "freeze", description: "Nor does the server afterwards", inputSchema: nothing },
  { name: "flood", description: "Answers with 2 MB", inputSchema: nothing },
  { name: "fail", description: "Fails", inputSchema: nothing },
  { name: "refuse", description: "Is refused", inputSchema: nothing },
  { name: "show", description: "Shows all kinds of content", inputSchema: nothing },
  { name: "data", description: "Returns structured data", inputSchema: nothing },
  { name: "9 lives/of a cat", title: "Has an odd name", inputSchema: nothing },
  { name: "env", description: "Tells a variable", inputSchema: nothing },
];

const text = (text: string) => ({ content: [{ type: "text", text }] });

/** What a tool returns; null for no answer at all. */
function call(name: string, args: Record<string, unknown>): unknown {
  switch (name) {
    case "sum":
    case "add":
      return text(String((args.a as number) + (args.b as number)));
    case "hang":
      return null;
    case "flood":
      return text("x".repeat(2_000_000));
    case "fail":
      return { ...text("there is no such city"), isError: true };
    case "data":
      return { ...text("ignored"), structuredContent: { celsius: 20 } };
    case "env":
      return text(Deno.env.get("SECRET") ?? "none");
    case "show":
      return {
        content: [
          { type: "text", text: "A picture:" },
          { type: "image", data: "AAAA", mimeType: "image/png" },
          { type: "resource", resource: { uri: "a:b", text: "a file" } },
          { type: "resource", resource: { uri: "a:c", blob: "AAAA", mimeType: "font/woff" } },
          { type: "resource_link", uri: "a:d", name: "more" },
        ],
      };
    default:
      return text(`called ${name}`);
  }
}

let frozen = false;

/** The answer to a message; null for none. */
export function answer({ id, method, params }: Message): unknown {
  if (id === undefined || method === undefined || frozen) return null;
  const reply = (result: unknown) => result === null ? null : { jsonrpc: "2.0", id, result };
  switch (method) {
    case "initialize":
      return reply({
        protocolVersion: "2025-06-18",
        capabilities: { tools: {} },
        serverInfo: { name: "fake", version: "1" },
      });
    case "tools/list": {
      if (Deno.args.includes("--no-list")) return reply({ tools: "none" });
      const all = Deno.args.includes("--many")
        ? Array.from({ length: 100 }, (_, i) => ({ name: `tool-${i}`, inputSchema: nothing }))
        : Deno.args.includes("--bad-schema")
        ? [{ name: "bad", inputSchema: { type: "object", properties: { a: { type: "int" } } } }]
        : Deno.args.includes("--no-type")
        ? [{ name: "bare", inputSchema: { properties: { a: { type: "number" } } } }]
        : Deno.args.includes("--no-tools")
        ? []
        : tools;
      const first = Number(params?.cursor ?? 0);
      const next = first + 7 < all.length ? { nextCursor: String(first + 7) } : {};
      return reply({ tools: all.slice(first, first + 7), ...next });
    }
    case "tools/call": {
      const { name = "", arguments: args = {} } = params ?? {};
      if (name === "die" || (name === "add" && (args.a as number) % 2 === 0)) Deno.exit(1);
      if (name === "freeze") frozen = true;
      if (name === "refuse") return { jsonrpc: "2.0", id, error: { code: -32602, message: "no" } };
      return frozen ? null : reply(call(name, args));
    }
    case "ping":
      return reply({});
    default:
      return { jsonrpc: "2.0", id, error: { code: -32601, message: "method not found" } };
  }
}

/** The same over HTTP, for requests with the right token; a tool that dies takes all sessions along. */
export function serveFake(token: string): { url: string; server: Deno.HttpServer } {
  const sessions = new Set<string>();
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    if (request.headers.get("authorization") !== `Bearer ${token}`) {
      return new Response(`${request.headers.get("authorization")} is not it`, { status: 401 });
    }
    if (request.method !== "POST") return new Response(null, { status: 405 });
    const message = await request.json() as Message;
    const session = request.headers.get("mcp-session-id");
    const headers = { "content-type": "application/json", "mcp-session-id": session ?? "" };
    if (message.method === "initialize") {
      headers["mcp-session-id"] = crypto.randomUUID();
      sessions.add(headers["mcp-session-id"]);
    } else if (session === null || !sessions.has(session)) {
      return new Response("no such session", { status: 404 });
    }
    if (message.params?.name === "die") {
      sessions.clear();
      const stream = new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode(": it is coming\n\n"));
          setTimeout(() => controller.close(), 20);
        },
      });
      return new Response(stream, { headers: { ...headers, "content-type": "text/event-stream" } });
    }
    const reply = answer(message);
    return reply === null
      ? new Response(null, { status: 202 })
      : new Response(JSON.stringify(reply), { headers });
  });
  const { port } = server.addr as Deno.NetAddr;
  return { url: `http://127.0.0.1:${port}/mcp`, server };
}

async function overStandardIo(): Promise<void> {
  console.error("the fake server is up");
  let rest = "";
  for await (const piece of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const reply = answer(JSON.parse(line));
      if (reply !== null) {
        const bytes = new TextEncoder().encode(`${JSON.stringify(reply)}\n`);
        for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
      }
    }
  }
}

if (import.meta.main) {
  // A server that cannot even start.
  if (Deno.args.includes("--broken")) throw new Error(`bad token ${Deno.env.get("SECRET")}`);
  await overStandardIo();
}
