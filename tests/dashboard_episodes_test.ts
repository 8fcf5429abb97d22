// The pages about episodes as the server sends them.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { EpisodeRecord } from "../src/run/episode_record.ts";
import { EventLog } from "../src/run/events.ts";
import { JsonlWriter } from "../src/io/jsonl.ts";
import { RunHold } from "../src/run/control.ts";
import { add, asReference, broken, call, look, type Made, mul } from "./episodes.ts";
import { ask, begun, ended, freshRuns, makeRun, stepEvent, testApp } from "./servers.ts";

const terms = { correctness: 1, tools: 1, arguments: 0.5, validity: 1, format: 1, penalty: 0 };

/** An episode of the first prompt has all that is recorded, others what is recorded of these. */
function episode(
  step: number,
  group: number,
  sample: number,
  more: Partial<EpisodeRecord> = {},
): Partial<EpisodeRecord> {
  const text = ["<|user|>", "17 times 4", "<|assistant|>", "68"];
  const first = {
    weighted: { ...terms, correctness: 0.7, penalty: -0.025 },
    reference: { calls: [look, mul].map(asReference), answer: "68" },
    tokens: { text, mask: "0001", logprobs: [0, 0, 0, -0.5], advantages: 1.25 },
  };
  return {
    ...{ step, group, sample, task: group === 0 ? "shop-1" : "arith-1" },
    ...{ text: text.join(""), answer: "68", correct: sample === 0, finished: true },
    attempts: [look, mul].map((made) => ({ ...made, turn: 0 })),
    ...{ reward: sample === 0 ? 1 : 0.25, advantage: sample === 0 ? 1.25 : -0.75, terms },
    ...group === 0 ? first : {},
    ...more,
  };
}

/** Two steps of two prompts with two samples each: lines 1 to 8. */
const eight = [1, 2].flatMap((step) =>
  [0, 1].flatMap((group) => [0, 1].map((sample) => episode(step, group, sample)))
);

/** An app over one run of the past with these episodes. */
function browsing(episodes: readonly Partial<EpisodeRecord>[]) {
  const runs = freshRuns();
  const run = makeRun(runs, [begun, stepEvent(1), ended(1)], episodes);
  const { app, service } = testApp({ runs });
  service.index.refresh();
  const get = async (rest = "") => {
    const response = await app.request(`/ui/runs/${run.id}/episodes${rest}`, ask("GET"));
    return { status: response.status, text: await response.text() };
  };
  const page = async (rest = "") => {
    const { status, text } = await get(rest);
    assertEquals(status, 200, text);
    return main(text);
  };
  return { service, run, get, page };
}

/** What is special about a page. */
const main = (text: string) =>
  text.slice(text.indexOf('<main id="content">'), text.indexOf("</main>"));
const lines = (page: string) =>
  Array.from(page.matchAll(/id="line-(\d+)"/g), ([, line]) => Number(line));
const readable = (page: string) =>
  page.replace(/<[^>]*>/g, " ").replace(/\s+/g, " ").replaceAll("&#39;", "'").trim();

Deno.test("episodes are listed by prompt, the latest step first, each with a link", async () => {
  const { service, run, page } = browsing(eight);
  await using _service = service;
  const list = await page();
  assertEquals(lines(list), [5, 6, 7, 8, 1, 2, 3, 4]);
  assertStringIncludes(list, `href="/ui/runs/${run.id}/episodes/5"`);
  assertEquals(
    Array.from(list.matchAll(/scope="rowgroup"[^>]*>([^<]*)/g), ([, text]) => text!.trim()),
    ["Step 2, prompt 1", "Step 2, prompt 2", "Step 1, prompt 1", "Step 1, prompt 2"],
  );
  assertEquals(list.match(/token by token/g)?.length, 2, "the first prompt of each step");
  assertStringIncludes(readable(list), "Sample 2 \u2717 wrong 0.250 \u22120.75 2");
});

Deno.test("episodes are chosen by a form, of which empty fields say nothing", async () => {
  const { service, get, page } = browsing(eight);
  await using _service = service;
  const chosen = async (query: string) => lines(await page(query));
  assertEquals(await chosen("?step=1&correct=&task="), [1, 2, 3, 4]);
  assertEquals(await chosen("?step=&correct=true&task="), [5, 7, 1, 3]);
  assertEquals(await chosen("?step=2&correct=false&task=arith"), [8]);
  const list = await page("?correct=false&task=arith");
  assertStringIncludes(list, '<option value="false" selected>');
  assertStringIncludes(list, 'value="arith"');
  assertStringIncludes(list, "episodes/8?correct=false&amp;task=arith");
  assertStringIncludes(await page("?task=none"), "No episode is like that.");
  for (const query of ["?step=two", "?correct=maybe", `?task=${"x".repeat(300)}`]) {
    assertEquals((await get(query)).status, 400, query);
  }
});

Deno.test("a page of the list ends with a whole prompt, and the next begins with the one after", async () => {
  const many = Array.from(
    { length: 20 },
    (_, group) => [0, 1, 2, 3].map((sample) => episode(1, group, sample, { tokens: undefined })),
  );
  const { service, page } = browsing(many.flat());
  await using _service = service;
  const first = await page();
  assertEquals(lines(first), Array.from({ length: 48 }, (_, i) => i + 1));
  assertStringIncludes(first, "after=48");
  const second = await page("?after=48");
  assertEquals(lines(second), Array.from({ length: 32 }, (_, i) => i + 49));
  assertEquals(second.match(/after=/g), null);
  assertStringIncludes(second, ">Latest</a>");
  assertStringIncludes(await page("?after=80"), "There are no earlier ones.");
});

Deno.test("a prompt of more samples than a page has goes over several", async () => {
  const { service, page } = browsing(
    Array.from({ length: 60 }, (_, sample) => episode(1, 1, sample)),
  );
  await using _service = service;
  assertEquals(lines(await page()).length, 50);
  assertEquals(lines(await page("?after=50")).length, 10);
});

Deno.test("only the list of a run that goes on is kept up to date", async () => {
  const { service, run, get } = browsing([]);
  await using _service = service;
  const over = (await get()).text;
  assertStringIncludes(over, "This run has no episodes.");
  assert(!over.includes("data-every"));
  {
    using log = new EventLog(run.events);
    log.emit(begun);
    await using _hold = await RunHold.take(run.path);
    service.index.refreshRun(run.id);
    const live = (await get()).text;
    assertStringIncludes(live, "There are no episodes yet");
    assertStringIncludes(live, 'data-every="5000"');
  }
});

Deno.test("an episode of the first prompt is shown token by token, with its reward by term", async () => {
  const { service, get } = browsing(eight);
  await using _service = service;
  const { text } = await get("/1");
  const page = main(text);
  assertStringIncludes(page, "<h1>Step 1, prompt 1, sample 1</h1>");
  assertStringIncludes(page, '<span class="m l1 p2">68</span>');
  const data = /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(text)![1]!;
  assertEquals(JSON.parse(data).tokens.episode, {
    ...{ mask: "0001", logprobs: [0, 0, 0, -0.5], advantages: 1.25 },
  });
  assertStringIncludes(readable(page), "correctness 1.00 +0.700");
  assertStringIncludes(readable(page), "penalty 0.00 \u22120.025");
  assertStringIncludes(page, "the task&#39;s verifier accepts");
  for (const [, id] of page.matchAll(/aria-labelledby="([^"]+)"/g)) {
    assertStringIncludes(page, `id="${id}"`);
  }
});

Deno.test("an episode of another prompt is shown with what is recorded of it, and says what is not", async () => {
  const { service, page } = browsing(eight);
  await using _service = service;
  const shown = readable(await page("/3"));
  assertStringIncludes(shown, "&lt;|user|&gt;17 times 4");
  assertStringIncludes(shown, "Single tokens are recorded for the first prompt of a step only.");
  assertStringIncludes(shown, "What the teacher did is recorded for the first prompt");
  assertStringIncludes(shown, "look(item: pen) \u2192 17");
  assertStringIncludes(shown, "What each term contributed is recorded for the first prompt");
});

Deno.test("the samples of a prompt stand together, and explain the advantage", async () => {
  const { service, page } = browsing([
    ...eight,
    episode(3, 0, 0),
    episode(3, 0, 1, { reward: 1 }),
    episode(4, 0, 0, { reward: NaN, unavailable: "no search" }),
  ]);
  await using _service = service;
  const shown = await page("/2");
  const samples = shown.slice(shown.indexOf('id="group"'));
  assertEquals(lines(samples), [1]);
  assertMatch(readable(samples), /Sample 2 \(this one\)/);
  assertEquals(samples.match(/aria-current="true"/g)?.length, 1);
  // (1 + 0.25) / 2 and |1 - 0.25| / sqrt 2
  assertStringIncludes(
    readable(samples),
    "mean reward is 0.625 with a standard deviation of 0.530",
  );
  assertStringIncludes(await page("/9"), "All rewards are equal");
  assertMatch(readable(await page("?step=4")), /Sample 1 not scored \u2013 \+1\.25 2/);
  const unscored = readable(await page("/11"));
  assertStringIncludes(unscored, "not scored: no search");
  assertStringIncludes(unscored, "Fewer than two samples were scored.");
});

Deno.test("one goes from episode to episode within what is looked at, and back to it", async () => {
  const { service, page } = browsing(eight);
  await using _service = service;
  const turns = async (rest: string) => {
    const shown = await page(rest);
    return ["prev", "next"].map((rel) =>
      new RegExp(`href="[^"]*episodes/([^"]+)" rel="${rel}"`).exec(shown)?.[1]
    );
  };
  assertEquals(await turns("/1"), [undefined, "2"]);
  assertEquals(await turns("/8"), ["7", undefined]);
  const query = "correct=false&amp;task=shop";
  assertEquals(await turns("/2?correct=false&task=shop"), [undefined, `6?${query}`]);
  assertStringIncludes(await page("/2?correct=false&task=shop"), `episodes?${query}">Episodes</a>`);
});

Deno.test("a line that is gone, or never was, is not found, and the answer says why that may be", async () => {
  const { service, run, get } = browsing(eight);
  await using _service = service;
  assertEquals((await get("/8")).status, 200);
  {
    using file = new JsonlWriter(run.episodes);
    file.keep((line) => (line as EpisodeRecord).step <= 1);
  }
  // Before the index has noticed, and after.
  for (let i = 0; i < 2; i++) {
    const { status, text } = await get("/8");
    assertEquals(status, 404);
    assertStringIncludes(text, "it may have gone back to a checkpoint");
    service.index.refreshRun(run.id);
  }
  assertEquals((await get("/0")).status, 400);
  assertEquals((await get("/x")).status, 400);
});

/** What is said of each pair of calls, student, teacher and verdict. */
async function table(made: readonly Made[], wanted: readonly Made[] | null | undefined) {
  const attempts = made.map((one) => ({ ...one, turn: 0 }));
  const reference = wanted && { calls: wanted.map(asReference), answer: "68" };
  const { service, page } = browsing([episode(1, 0, 0, { attempts, reference })]);
  await using _service = service;
  const shown = await page("/1");
  const from = shown.indexOf('<table class="calls');
  const rows = shown.slice(from, shown.indexOf("</table>", from)).matchAll(/<tr>(<td>.*?)<\/tr>/gs);
  return {
    text: readable(shown),
    rows: Array.from(
      rows,
      ([, row]) =>
        row!.split("</td>").slice(0, 3).map((cell) =>
          readable(cell).replace(/^(student|teacher) /, "")
        ),
    ),
  };
}

Deno.test("calls stand beside those of the teacher that the reward compares them with", async () => {
  const cup = call("look", { item: "cup" }, 5);
  const calls = {
    look: "look(item: pen) \u2192 17",
    mul: "mul(a: 17, b: 4) \u2192 68",
  };
  assertEquals((await table([look, mul], [look, mul])).rows, [
    [calls.look, calls.look, "\u2713 same"],
    [calls.mul, calls.mul, "\u2713 same"],
  ]);
  assertEquals((await table([cup, call("mul", { a: 5, c: null }, 20)], [look, mul])).rows, [
    [
      "look(item: cup) \u2192 5",
      calls.look,
      "\u2260 1 argument of 1 item : cup , teacher pen",
    ],
    [
      "mul(a: 5, c: null) \u2192 20",
      calls.mul,
      "\u2260 2 arguments of 3 b : none, teacher 4 c : null , teacher none",
    ],
  ]);
  assertEquals(
    (await table([cup, call("mul", { b: 4, a: 5 }, 20)], [look, mul])).rows[1]![2],
    [
      ..."\u2713 same counting a as the same",
    ].join(""),
  );
  assertEquals((await table([mul, look], [look, mul])).rows, [
    [calls.mul, calls.mul, "\u2713 same"],
    [calls.look, calls.look, "\u2713 same"],
  ]);
});

Deno.test("calls that match none, repeats and what was missed have rows of their own", async () => {
  const { rows } = await table(
    [broken("malformed", ""), add(1, 2), mul, mul],
    [look, mul, look, add(3, 4), call("sub", {}, 0)],
  );
  assertEquals(rows.map(([student, teacher, verdict]) => [student, teacher, verdict]), [
    ["no call", "look(item: pen) \u2192 17", "\u2717 missed"],
    ["?(?) \u2717 malformed", "no call", "\u2717 did not execute"],
    [
      "add(a: 1, b: 2) \u2192 3",
      "add(a: 3, b: 4) \u2192 7",
      "\u2260 2 arguments of 2 a : 1 , teacher 3 b : 2 , teacher 4",
    ],
    ["no call", "sub() \u2192 0", "\u2717 missed"],
    ["mul(a: 17, b: 4) \u2192 68", "mul(a: 17, b: 4) \u2192 68", "\u2713 same"],
    ["no call", "look(item: pen) \u2192 17", "repeats another, not counted"],
    ["mul(a: 17, b: 4) \u2192 68", "no call", "repeats another, not counted"],
  ]);
  const failed = await table([broken("failed", "mul"), call("say", {}, "x")], [mul]);
  assertEquals(failed.rows.map(([, , verdict]) => verdict), [
    ...["\u2717 missed", "\u2717 did not execute", "\u2717 the teacher has no such call left"],
  ]);
});

Deno.test("where there is no teacher, or neither called anything, that is said", async () => {
  assertStringIncludes((await table([look], null)).text, "The task has no teacher.");
  const old = await table([look], undefined);
  assertStringIncludes(old.text, "This run did not record what the teacher did.");
  assertStringIncludes(old.text, "look(item: pen)");
  assertStringIncludes((await table([], null)).text, "The student made no call.");
  assertStringIncludes((await table([], [])).text, "Neither made a call.");
});

Deno.test("long episodes are cut, and the page says of what", async () => {
  const piece = { text: Array(4000).fill("a"), mask: "1".repeat(4000) };
  const { service, page } = browsing([
    episode(1, 0, 0, {
      tokens: { ...piece, logprobs: Array(4000).fill(-1), advantages: Array(4000).fill(1) },
      attempts: Array.from({ length: 100 }, (_, a) => ({ ...add(a, a), turn: a })),
    }),
    episode(1, 1, 0, { text: "b".repeat(50_000) }),
  ]);
  await using _service = service;
  const long = await page("/1");
  assertStringIncludes(long, "The first 2500 of 4000 tokens.");
  assertStringIncludes(long, "The first 60 calls of each are compared");
  assertStringIncludes(long, "/episodes?after=0&amp;limit=1");
  assertStringIncludes(await page("/2"), "(30000 more characters)");
});

Deno.test("episodes of older runs are shown with what they have", async () => {
  const { service, page } = browsing([{ step: 1, group: 0, sample: 0 }]);
  await using _service = service;
  assertEquals(lines(await page()), [1]);
  const shown = readable(await page("/1"));
  assertStringIncludes(shown, "This run did not record single tokens.");
  assertStringIncludes(shown, "Its terms were not recorded.");
  assertStringIncludes(shown, "\u2717 unfinished");
});

Deno.test("whatever an episode holds is text", async () => {
  const evil = `<img src=x onerror="alert(1)">'</script>\u202e\0`;
  const made = [call(evil, { [evil]: evil }, evil), { ...broken("failed"), status: evil as "ok" }];
  const { service, get } = browsing([
    episode(1, 0, 0, {
      ...{ task: evil, text: evil, answer: evil, attempts: made.map((o) => ({ ...o, turn: 0 })) },
      terms: { [evil]: 1 } as never,
      reference: { calls: [asReference(call(evil, { [evil]: 1 }, evil))], answer: evil },
      tokens: { text: [evil], mask: "1", logprobs: [-1], advantages: 0 },
    }),
    episode(1, 0, 1, { unavailable: evil }),
    episode(1, 1, 0, { text: evil, task: evil }),
  ]);
  await using _service = service;
  for (const rest of ["", "/1", "/2", "/3", `?task=${encodeURIComponent("<img src=x")}`]) {
    const { status, text } = await get(rest);
    assertEquals(status, 200);
    assert(!text.includes("<img"), rest);
    assert(!/[\u202e\0]/.test(text), rest);
    assertStringIncludes(text, "&lt;img src=x");
    assert(!/<(script|style)>|style="/.test(text), rest);
  }
});
