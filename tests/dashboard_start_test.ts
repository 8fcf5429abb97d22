// The form that starts a run and the playground, as the server sends them; tests/browser has a
// browser use them.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { resolveConfig, valueAt } from "../src/run/config/mod.ts";
import { settings } from "../src/run/config/schema.ts";
import { RunFolder } from "../src/run/store.ts";
import { OWN } from "../src/serve/allowed.ts";
import { newToken, readTokens } from "../src/serve/tokens.ts";
import { ask, begun, ended, freshRuns, makeRun, root, testApp } from "./servers.ts";

async function pageAt({ app }: ReturnType<typeof testApp>, path: string, headers = {}) {
  const response = await app.request(path, ask("GET", undefined, headers));
  return { status: response.status, text: await response.text() };
}

/** What stands in a page as text: the five characters that HTML needs are written as references. */
const escaped = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;").replaceAll("'", "&#39;");

/** The element of a setting, up to the next one. */
function fieldOf(page: string, path: string): string {
  const [, field] = page.split(`data-path="${path}"`);
  return field!.split('class="setting"')[0]!;
}

/** The values that a control offers as selected or typed. */
function given(field: string): string[] {
  const chosen = /<option value="([^"]*)" selected/.exec(field) ??
    /<textarea[^>]*>\n([^<]*)</.exec(field) ??
    /<input[^>]* type="(?:text|number)"[^>]* value="([^"]*)"/.exec(field);
  return chosen
    ? [chosen[1]!]
    : [...field.matchAll(/value="([^"]*)" checked/g)].map((one) => one[1]!);
}

Deno.test("every setting that a request may set has one field, with its default and its words", async () => {
  const opened = testApp();
  await using _service = opened.service;
  const { status, text: page } = await pageAt(opened, "/ui/start");
  assertEquals(status, 200);
  const fields = [...page.matchAll(/data-path="([^"]+)"/g)].map(([, path]) => path!);
  const open = settings.filter(({ path }) => !OWN.includes(path));
  assertEquals(fields.toSorted(), open.map(({ path }) => path).toSorted());
  for (const { path, kind, fallback, nullable, description, options } of open) {
    const field = fieldOf(page, path);
    assertStringIncludes(field, `data-kind="${kind}"`);
    assertStringIncludes(field, `data-default="${escaped(JSON.stringify(fallback))}"`, path);
    assertStringIncludes(field, escaped(description), path);
    // An empty field says null.
    assert(!nullable || fallback === null, path);
    const offered = [
      ...field.split("<datalist")[0]!.matchAll(/<(?:option|input[^>]*) value="([^"]*)"/g),
    ];
    if (options !== null) assertEquals(offered.map(([, value]) => value!), [...options], path);
    if (kind === "texts" && options !== null) assertEquals(given(field), fallback, path);
    else if (kind !== "switch") {
      assertEquals(given(field), [options === null ? "" : escaped(String(fallback))], path);
    }
  }
  const ids = [...page.matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id!);
  assertEquals(ids.length, new Set(ids).size);
  const named = [...page.matchAll(/(?:aria-describedby|for|list)="([^"]+)"/g)];
  for (const id of named.flatMap(([, list]) => list!.split(" "))) assert(ids.includes(id), id);
  assert(!/<(script|style)>|style="|\bon\w+="/.test(page), "nothing that the policy forbids");
});

Deno.test("words that a setting may be are those that it accepts, and no others", () => {
  const some = settings.filter(({ options }) => options !== null);
  assert(some.length > 15, "choices have options");
  for (const { path, options, accepts, kind } of some) {
    for (const word of [...options!, "another"]) {
      assertEquals(
        accepts(kind === "texts" ? [word] : word),
        word !== "another",
        `${path} ${word}`,
      );
    }
  }
});

Deno.test("a form like a run begins with what that run changed, and nothing in it is markup", async () => {
  const opened = testApp();
  await using _service = opened.service;
  const { runs } = opened.service.options;
  const hostile = `"><script>alert(1)</script></textarea><img src=x onerror=alert(1)>\u202e`;
  const config = resolveConfig({
    flags: {
      ...{ from: hostile, tools: [hostile, "b"], domains: ["shop", "date"], seed: 7 },
      ...{ chat: { system: `\n${hostile}` }, skipInvalid: true, reward: "sparse" },
      optimizer: { betas: [0.5, 0.75] },
    },
  });
  const run = RunFolder.create(config, runs);
  opened.service.supervisor.tick();
  const { status, text: page } = await pageAt(opened, `/ui/start?like=${run.id}`);
  assertEquals(status, 200);
  assert(!/<script>|<img/.test(page));
  const shown = escaped(hostile.replace("\u202e", "\u27e8U+202E\u27e9"));
  const rows: Record<string, string[]> = {
    from: [shown],
    tools: [`${shown}, b`],
    domains: ["shop", "date"],
    seed: ["7"],
    reward: ["sparse"],
    steps: [""],
    "chat.system": [`\n${shown}`],
    "optimizer.betas": ["0.5, 0.75"],
  };
  for (const [path, values] of Object.entries(rows)) {
    assertEquals(given(fieldOf(page, path)), values, path);
  }
  assertStringIncludes(fieldOf(page, "skipInvalid"), "checked");
  assert(!page.includes('data-path="out"'));
  assertEquals((await pageAt(opened, "/ui/start?like=another")).status, 404);
  assertEquals((await pageAt(opened, "/ui/start?like=..%2fx")).status, 400);
  Deno.mkdirSync(join(runs, "broken"));
  Deno.writeTextFileSync(join(runs, "broken", "config.json"), "{");
  opened.service.supervisor.tick();
  assertEquals((await pageAt(opened, "/ui/start?like=broken")).status, 409);
});

Deno.test("the form suggests what a request may name, and requests may name it", async () => {
  const runs = freshRuns();
  const places = ["tasks", "org/model"];
  const opened = testApp({ runs, allowed: { places, tools: ["calculator", "python"] } });
  await using _service = opened.service;
  const trained = makeRun(runs, [begun, ended(9)]);
  Deno.mkdirSync(join(trained.path, "model"));
  makeRun(runs, [begun, ended(9)]);
  opened.service.supervisor.tick();
  const { text: page } = await pageAt(opened, "/ui/start");
  const suggested = (path: string) =>
    [...(fieldOf(page, path).split("<datalist")[1] ?? "").matchAll(/value="([^"]*)"/g)]
      .map(([, value]) => value);
  const model = join(trained.path, "model");
  assertEquals(suggested("from"), ["scratch", "assets/base-nano", model, ...places]);
  assertEquals(suggested("distill.teacher"), [model, ...places]);
  assertEquals(suggested("tasks"), places);
  assertEquals(suggested("tools"), ["calculator", "python"]);
  assertEquals(suggested("chat.system"), []);
  const started = await opened.app.request(
    "/runs",
    ask("POST", { from: model, tools: ["python"] }),
  );
  assertEquals(started.status, 201);
  assertEquals(valueAt((await started.json()).config, "from"), model);
});

Deno.test("who may read alone is told so, and can neither start nor talk", async () => {
  const [reader, controller] = [newToken("plots", "read", null), newToken("lap", "control", null)];
  const file = join(root, "tokens");
  Deno.writeTextFileSync(file, `${reader.line}\n${controller.line}\n`);
  const models = { nano: "assets/base-nano" };
  const opened = testApp({ tokens: readTokens(file), inference: { models } });
  await using _service = opened.service;
  for (const path of ["/ui/start", "/ui/playground"]) {
    const [reads, controls] = await Promise.all(
      [reader, controller].map(({ token }) =>
        pageAt(opened, path, { authorization: `Bearer ${token}` })
      ),
    );
    assertStringIncludes(reads!.text, "Your token may read alone");
    assert(/<fieldset class="all[^>]* disabled/.test(reads!.text), path);
    assert(!/ disabled aria-describedby="read-only"/.test(controls!.text), path);
    assertStringIncludes(controls!.text, "data-token");
  }
});

Deno.test("the playground offers the models and the tools that the server calls", async () => {
  const models = { nano: "assets/base-nano", 'a"<b>': "other" };
  const opened = testApp({
    inference: { models },
    allowed: { tools: ["units", "javascript", "./mine.ts"] },
  });
  await using _service = opened.service;
  const { text: page } = await pageAt(opened, "/ui/playground");
  const offered = [...page.matchAll(/<option>([^<]*)<\/option>/g)].map(([, id]) => id);
  assertEquals(offered, ["nano", escaped('a"<b>')]);
  const tools = [...page.matchAll(/data-tool="([^"]*)"/g)].map(([, json]) =>
    JSON.parse(json!.replaceAll("&quot;", '"').replaceAll("&#39;", "'"))
  );
  assertEquals(tools, JSON.parse(JSON.stringify(opened.service.tools.specs)));
  assertEquals(tools.map(({ name }) => name), ["convert", "javascript"]);
  assert(!/<(script|style)>|style="|\bon\w+="/.test(page), "nothing that the policy forbids");
});

Deno.test("a playground without models says how to offer some, and which there are", async () => {
  const runs = freshRuns();
  const opened = testApp({ runs });
  await using _service = opened.service;
  const none = await pageAt(opened, "/ui/playground");
  assertStringIncludes(none.text, "./mentor serve --models nano=assets/base-nano");
  const trained = makeRun(runs, [begun, ended(9)]);
  Deno.mkdirSync(join(trained.path, "model"));
  opened.service.supervisor.tick();
  const some = await pageAt(opened, "/ui/playground");
  assertStringIncludes(some.text, `--models ${trained.id}=${join(trained.path, "model")}`);
  assertStringIncludes(some.text, `href="/ui/runs/${trained.id}"`);
});
