// Models to talk to beside runs: who may, and which of them has the GPU.

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import "../mod.ts";
import { newToken, readTokens } from "../src/serve/tokens.ts";
import { RunHold, sendRequest } from "../src/run/control.ts";
import { Problem } from "../src/serve/problem.ts";
import { ask, begun, makeRun, root, startNothing, testApp, until } from "./servers.ts";

const nano = fromFileUrl(new URL("../assets/base-nano", import.meta.url));
const inference = { models: { nano }, slots: 2, context: 128 };
const question = {
  model: "nano",
  messages: [{ role: "user", content: "34 plus 8" }],
  max_tokens: 8,
  temperature: 0,
};
const run = { steps: 1, evaluation: { prompts: 0 } };

Deno.test("a model has the GPU until a run wants it, and then waits for the run", async () => {
  let atStart: string | null | undefined;
  const { app, engine, service } = testApp({
    inference,
    start: (folder) => {
      atStart = engine.state.model;
      return startNothing(folder);
    },
  });
  await using _ = service;
  const { data } = await (await app.request("/v1/models", ask("GET"))).json();
  assertEquals(data.map(({ id }: { id: string }) => id), ["nano"]);
  const answered = await app.request("/v1/chat/completions", ask("POST", question));
  assertEquals(answered.status, 200);
  assertEquals((await answered.json()).object, "chat.completion");
  assertEquals(engine.state.model, "nano");

  const made = await app.request("/runs", ask("POST", run));
  assertEquals(made.status, 201);
  await until("the run has begun", () => atStart !== undefined);
  assertEquals(atStart, null, "the model was taken off the GPU before");
  const refused = await app.request("/v1/chat/completions", ask("POST", question));
  assertEquals([refused.status, refused.headers.get("retry-after")], [503, "1"]);
  const { id } = await made.json();
  assertMatch((await refused.json()).error.message, new RegExp(`run "${id}" has the GPU`));
});

Deno.test("a run that was told to go on has the GPU before it says so", async () => {
  const { app, service } = testApp({ inference });
  await using _ = service;
  const paused = makeRun(service.options.runs, [begun, { type: "paused", step: 1 }]);
  using _hold = await RunHold.take(paused.path);
  sendRequest(paused.path, "pause");
  service.supervisor.tick();
  const status = async (path: string, body?: unknown) => {
    const response = await app.request(path, ask("POST", body));
    await response.body?.cancel();
    return response.status;
  };
  assertEquals(await status("/v1/chat/completions", question), 200);
  assertEquals(await status(`/runs/${paused.id}/resume`), 202);
  assertEquals(service.index.get(paused.id)?.state, "paused");
  assertEquals(await status("/v1/chat/completions", question), 503);
  // Nor does a server that ends begin anything anew.
  await service.close();
  assertEquals(await status("/v1/chat/completions", question), 503);
  assertEquals([await status("/runs", run), await status(`/runs/${paused.id}/stop`)], [503, 503]);
  assertThrows(() => service.supervisor, Problem);
});

Deno.test("completions take a token for control, and a body that is not too long", async () => {
  const [reader, owner] = [newToken("reader", "read", null), newToken("owner", "control", null)];
  const file = join(root, "tokens");
  Deno.writeTextFileSync(file, `${reader.line}\n${owner.line}\n`);
  const tokens = readTokens(file);
  const { app, service } = testApp({ inference, tokens });
  await using _ = service;
  const status = async (token: string | null, body: unknown = question) => {
    const headers: Record<string, string> = token === null
      ? {}
      : { authorization: `Bearer ${token}` };
    const response = await app.request("/v1/chat/completions", ask("POST", body, headers));
    await response.body?.cancel();
    return response.status;
  };
  assertEquals(await status(null), 401);
  assertEquals(await status(reader.token), 403);
  assertEquals(await status(owner.token, { ...question, model: "../secret" }), 404);
  assertEquals(await status(owner.token, "x".repeat(2 ** 22 + 1)), 413);
  const listed = await app.request(
    "/v1/models",
    ask("GET", undefined, { authorization: `Bearer ${reader.token}` }),
  );
  assert(listed.ok);
  await listed.body?.cancel();
});
