// Reports: whatever is in a run or a comparison, its page is whole, small, escaped and always the
// same.

import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertLess,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { createHash } from "node:crypto";
import { join } from "@std/path";
import { CheckpointError } from "../src/io/safetensors.ts";
import type { CreditedRollout } from "../src/rl/experience.ts";
import { episodeRecord } from "../src/run/episode_record.ts";
import type { RunEvent } from "../src/run/events.ts";
import { thinned } from "../src/run/report/chart.ts";
import type { Comparison } from "../src/run/report/comparison.ts";
import { parseComparison } from "../src/run/report/comparison_file.ts";
import { scopeMean } from "../src/run/report/comparison_scopes.ts";
import { ComparisonView, meanCurve } from "../src/run/report/comparison_view.ts";
import { fixed, interval, short, signed } from "../src/run/report/format.ts";
import { RunHistory } from "../src/run/report/history.ts";
import { clip, markup, visible, within } from "../src/run/report/html.ts";
import { niceScale } from "../src/run/report/interval_table.ts";
import {
  collectRunReport,
  comparisonCsv,
  renderComparisonReport,
  renderRunReport,
  report,
} from "../src/run/report/mod.ts";
import { runCurves } from "../src/run/report/run_curves.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { comparisonOf, episodeLine, eventsOf } from "./comparisons.ts";
import { chain, episode as episodeWith, look } from "./episodes.ts";

const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));

const LIMIT = 2_000_000;
/** Everything that has a meaning in HTML, JSON or to a reader's eye. */
const HOSTILE =
  `</script></style><img src=x onerror=alert(1)>"'\`&amp;<!--]]>\0\r\x1b\u202e\ud800é😀`;

let folders = 0;
/** A run's folder. */
function runFolder(
  events: readonly unknown[],
  episodes: Iterable<unknown> | null = [],
  config: unknown = { method: "grpo", steps: 6 },
): string {
  const path = join(folder, `run-${folders++}`);
  Deno.mkdirSync(path);
  const lines = (values: Iterable<unknown>) =>
    Array.from(values, (value) => `${JSON.stringify(value)}\n`).join("");
  Deno.writeTextFileSync(join(path, "config.json"), JSON.stringify(config));
  Deno.writeTextFileSync(join(path, "events.jsonl"), lines(events));
  if (episodes) Deno.writeTextFileSync(join(path, "episodes.jsonl"), lines(episodes));
  return path;
}

function* episodesOf(steps: number, options: { text?: string; tokens?: number } = {}) {
  for (let step = 1; step <= steps; step++) {
    for (let group = 0; group < 4; group++) {
      for (let sample = 0; sample < 3; sample++) {
        yield episodeLine({ step, group, sample }, options);
      }
    }
  }
}

/** What is between the first `begin` and the `end` after it. */
function between(text: string, begin: string, end: string): string {
  const from = text.indexOf(begin) + begin.length;
  return text.slice(from, text.indexOf(end, from));
}

const VOID = new Set(["meta", "link", "input", "br", "line", "circle", "rect"]);

/**
 * Reads a page more strictly than a browser: every `<` begins a tag with quoted attributes, tags are
 * closed in order, ids are unique, and nothing loads or runs but what belongs to the page.
 */
function checkPage(page: string): void {
  assertLess(new TextEncoder().encode(page).length, LIMIT);
  const data = between(page, '<script type="application/json" id="data">', "</script>");
  JSON.parse(data);
  assert(!data.includes("<"));
  const code = between(page, "</script>\n<script>", "</script>");
  const style = between(page, "<style>", "</style>");
  const rest = page.replace(code, () => "").replace(style, () => "").replace(data, () => "");
  const digest = (text: string) => createHash("sha256").update(text).digest("base64");
  assertStringIncludes(rest, `script-src &#39;sha256-${digest(code)}&#39;`);
  assertStringIncludes(rest, `style-src &#39;sha256-${digest(style)}&#39;`);
  assertEquals(rest.match(/<script/g)?.length, 2);
  assert(rest.isWellFormed());
  assertEquals(rest.match(/(?![\n\t])\p{Cc}|\u202e/u)?.index, undefined);
  const open: string[] = [];
  const ids = new Set<string>();
  const text = rest.replace("<!DOCTYPE html>", "").replace(
    /<(\/?)([a-z][a-z0-9]*)((?:\s+[a-zA-Z][\w-]*(?:="[^"]*")?)*)\s*\/?>/g,
    (_, closing: string, name: string, attributes: string) => {
      if (closing) assertEquals(open.pop(), name);
      else if (!VOID.has(name)) open.push(name);
      for (const [, key, value] of attributes.matchAll(/([\w-]+)(?:="([^"]*)")?/g)) {
        assert(!/^(on|style$|src$|action$)/.test(key!), `attribute ${key}`);
        if (key === "href") assert(/^(#[a-z-]+|data:,)$/.test(value!), value);
        if (key !== "id") continue;
        assert(!ids.has(value!), `two of id ${value}`);
        ids.add(value!);
      }
      return "";
    },
  );
  assertEquals(open, []);
  assertEquals(text.match(/[^\n]*[<>][^\n]*/), null);
  for (const [, id] of rest.matchAll(/(?:href="#|aria-labelledby=")([a-z-]+)"/g)) {
    assert(ids.has(id!), `no ${id}`);
  }
}

/** The same value with every string in it replaced, but for those that have to stay. */
function poisoned<T>(value: T, keep: readonly string[]): T {
  if (typeof value === "string") return (keep.includes(value) ? value : HOSTILE) as T;
  if (Array.isArray(value)) return value.map((part) => poisoned(part, keep)) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, part]) => [name, poisoned(part, keep)]),
  ) as T;
}

const COMPARISON_SECTIONS = [
  "Results",
  "Hypotheses",
  "Paired differences",
  "Learning curves",
  "Behaviour",
  "Domains",
  "Settings",
  "How to reproduce",
  "What was not shown",
];
const RUN_SECTIONS = [
  "Warnings",
  "Before and after",
  "Curves",
  "Samples before and after",
  "Rollouts token by token",
  "Settings",
  "What was not shown",
];

function assertSections(page: string, titles: readonly string[]): void {
  assertEquals(Array.from(page.matchAll(/<h2[^>]*>([^<]*)<\/h2>/g), ([, title]) => title!), [
    ...titles,
  ]);
}

Deno.test("a comparison's page has every section, arm and interval", () => {
  const page = renderComparisonReport(comparisonOf(["sft", "flex"]));
  checkPage(page);
  assertSections(page, COMPARISON_SECTIONS);
  for (const arm of ["base", "sft", "flex"]) {
    assertStringIncludes(page, `<th scope="row">${arm}</th>`);
  }
  assertStringIncludes(page, "sft \u2212 flex");
  assertStringIncludes(page, "+5.0 [\u22121.0, +11.0]");
  assertStringIncludes(page, "+5.0 [+2.0, +8.0]");
  assertStringIncludes(page, "bootstrap over seeds and prompts");
  assertStringIncludes(page, "<small>One run counts as two.</small>");
  assertStringIncludes(page, "<pre>./mentor compare --seeds 3 --arms sft,flex</pre>");
  assertEquals(page.match(/class="(good|bad)">[\u2713\u2717] (yes|no)/g)?.length, 3);
  const { runs } = comparisonOf(["sft", "flex"]);
  const without = { ...comparisonOf(["sft", "flex"]), runs: runs.slice(1) };
  assertStringIncludes(
    renderComparisonReport({
      ...without,
      failed: [{ arm: "sft", seed: 0, failed: "Step 3: it is no number" }],
    }),
    "1 run that should be there: sft with seed 0 (Step 3: it is no number).",
  );
  const { gates: _gates, command: _command, ...old } = without;
  assertStringIncludes(renderComparisonReport(old), "Take the regime &ldquo;a small model&rdquo;");
  assertStringIncludes(page, "? undecided");
  assertStringIncludes(page, "It is open which is better.");
  assertStringIncludes(page, "<td>sft</td><td>flex</td>"); // the setting that differs
  const { charts } = JSON.parse(
    between(page, '<script type="application/json" id="data">', "</script>"),
  );
  // Of each arm three seeds and their mean.
  assertEquals(charts.map(({ lines }: { lines: unknown[] }) => lines.length), [8, 8, 8, 8]);
});

Deno.test("hostile text in a comparison stays text", () => {
  const keep = ["train", "held-out", "composition", "depth", "domain", "undecided"];
  const page = renderComparisonReport(poisoned(comparisonOf(["a", "b"]), keep));
  checkPage(page);
  assertStringIncludes(page, "&lt;img src=x onerror=alert(1)&gt;");
});

Deno.test("hostile text in a run stays text", () => {
  const keep = ["run-start", "step", "eval", "run-end", "warning", "grpo", "before", "after"];
  const events = poisoned<RunEvent[]>(
    [
      ...eventsOf(3, (step) => ({ reward: step, [HOSTILE.toWellFormed()]: step })),
      { time: "", type: "warning", step: 1, message: "x" },
    ],
    keep,
  );
  const config = { method: HOSTILE, [HOSTILE]: { [HOSTILE]: HOSTILE }, constructor: 1 };
  const path = runFolder(events, episodesOf(3, { text: HOSTILE }), config);
  const page = renderRunReport(collectRunReport(path));
  checkPage(page);
  assertStringIncludes(page, "&lt;img src=x onerror=alert(1)&gt;");
  assert(page.includes("\u2400") && page.includes("\u27e8U+202E\u27e9"));
});

Deno.test("names that objects are born with are names like others", () => {
  const metrics = JSON.parse('{"constructor":1,"toString":2,"rewards/":3,"__proto__":4}');
  const comparison = comparisonOf(["constructor", "__proto__"]);
  checkPage(renderComparisonReport(comparison));
  checkPage(renderRunReport(collectRunReport(runFolder(eventsOf(2, () => metrics)))));
});

Deno.test("a run's page has every section, and shows what is in the files", () => {
  const path = runFolder(
    eventsOf(
      6,
      (step) => ({ reward: step, "tools/validity": 0.5, "rewards/tools": 0.1, novel: 3 }),
    ),
    episodesOf(6),
  );
  const page = renderRunReport(collectRunReport(path));
  checkPage(page);
  assertSections(page, RUN_SECTIONS);
  assertStringIncludes(page, "<dd>6 of 6</dd>");
  assertStringIncludes(page, "<dd>1 min 15 s</dd>");
  assertStringIncludes(page, "2026-11-24 23:18 UTC");
  for (const title of ["Reward", "Valid calls", "Reward term: tools", "novel", "Time of rollout"]) {
    assertStringIncludes(page, `<figcaption><b>${title}</b>`);
  }
  assertEquals(
    Array.from(page.matchAll(/<h3>(Step \d)<\/h3>/g), ([, step]) => step),
    // The first and the last beside each other, then with a middle one by tokens.
    ["Step 1", "Step 6", "Step 1", "Step 3", "Step 6"],
  );
  assertEquals(page.match(/data-tokens=/g)?.length, 9);
  const { charts, tokens } = JSON.parse(
    between(page, '<script type="application/json" id="data">', "</script>"),
  );
  const validity = charts.find(({ title }: { title: string }) => title === "Valid calls");
  assertEquals([validity.lines[0].x, validity.lines[0].y], [[1, 2, 3, 4, 5, 6], Array(6).fill(50)]);
  assertEquals(tokens.r0.mask, "010101");
  // Sampled with log p of -0.5 (61 %), and an advantage of -1.25.
  assertStringIncludes(page, '<span class="m l1 n2">34 plus 8</span>');
  assertStringIncludes(page, "<li><code>34 plus 8(34 plus 8: 34 plus 8)</code>");
  assertStringIncludes(page, '<span class="bad">\u2717 malformed</span>');
  assertStringIncludes(page, "\u22120.100"); // the penalty's contribution
});

Deno.test("a run's page says what was given in code, whatever the config says", () => {
  const page = (own?: unknown) => {
    const [start, ...others] = eventsOf(2, () => ({}));
    const events = [{ ...start, ...(own === undefined ? {} : { own }) }, ...others];
    const config = { reward: "flex" };
    return renderRunReport(collectRunReport(runFolder(events, [], config)));
  };
  const fact = (text: string) => between(text, "<dt>Reward</dt><dd>", "</dd>");
  const given = page(["reward", "potential"]);
  assertEquals(fact(given), "its own, given in code");
  assert(given.includes("by turns, with a potential of its own"));
  assert(given.includes("(reward, potential)"));
  assertEquals(fact(page()), "flex");
  for (const odd of ["reward", [HOSTILE], [null], {}]) assertEquals(fact(page(odd)), "flex");
});

Deno.test("a page stays below 2 MB, whatever the run", () => {
  const metrics = (step: number) =>
    Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`metric number ${i}`, step / 7]));
  const warning = (step: number): RunEvent => ({
    ...{ time: "", type: "warning", step, message: '"'.repeat(2000) },
  });
  const events = [...eventsOf(3000, metrics), ...Array.from({ length: 500 }, (_, i) => warning(i))];
  const text = '"<'.repeat(200);
  const episodes = [
    ...episodesOf(2, { text, tokens: 3000 }),
    // A rollout that has room is shown although those before it have none.
    episodeLine({ step: 3, group: 0, sample: 0 }),
  ];
  const path = runFolder(events, episodes, { method: text.repeat(10) });
  const page = renderRunReport(collectRunReport(path));
  checkPage(page);
  assertStringIncludes(page, "a point of a curve is the mean of up to 8 steps");
  assertStringIncludes(page, "42 more metrics");
  assertStringIncludes(page, "3 chosen rollouts too long for the page.");
  assertEquals(page.match(/data-tokens=/g)?.length, 1);

  const arms = Array.from({ length: 12 }, (_, i) => `arm number ${i}`);
  checkPage(renderComparisonReport(comparisonOf(arms, { seeds: 8, points: 1000 })));
});

Deno.test("long rollouts are cut, and short ones are shown as far as there is room", () => {
  const long = runFolder(eventsOf(3, () => ({})), episodesOf(3, { text: "a", tokens: 4000 }));
  const page = renderRunReport(collectRunReport(long));
  checkPage(page);
  assertStringIncludes(page, "The first 2500 of 4000 tokens.");
  assertStringIncludes(page, "The ends of long rollouts.");
  assertEquals(page.match(/data-tokens=/g)?.length, 9);
});

Deno.test("runs from before tokens were recorded, and damaged lines, are shown all the same", () => {
  const old = Array.from(episodesOf(2), (line) => {
    const { weighted: _weighted, reference: _reference, tokens: _tokens, ...rest } = line;
    return { ...rest, reward: null };
  });
  const mismatched = { ...episodeLine({ step: 2, group: 0, sample: 7 }) };
  const lines = [...old, null, 7, { step: "two" }, {
    ...mismatched,
    tokens: { ...mismatched.tokens, mask: "1" },
  }];
  const run = collectRunReport(runFolder(eventsOf(2, () => ({ reward: 1 })), lines));
  assertEquals([run.episodes, run.unreadable], [25, 3]);
  const page = renderRunReport(run);
  checkPage(page);
  assertStringIncludes(page, "This run did not record single tokens.");
  assertStringIncludes(page, "This run did not record it.");
  assertStringIncludes(page, "3 lines of episodes.jsonl that are no episodes.");
  assert(!page.includes("data-tokens="));
});

Deno.test("runs that have hardly begun have a page", () => {
  const [start, before] = eventsOf(1, () => ({})) as [RunEvent, RunEvent];
  for (const events of [[], [start], [start, before], [{ no: "event" }, { type: "eval" }, null]]) {
    for (const episodes of [null, [], [episodeLine({ step: 1, group: 0, sample: 0 })]]) {
      const page = renderRunReport(collectRunReport(runFolder(events, episodes, {})));
      checkPage(page);
      assertSections(page, RUN_SECTIONS);
      assertStringIncludes(page, "<dd>running, or interrupted</dd>");
    }
  }
  const empty: Comparison = {
    ...comparisonOf([], { seeds: 0 }),
    ...{ differences: [], hypotheses: [], base: [] },
  };
  const page = renderComparisonReport(empty);
  checkPage(page);
  assertSections(page, COMPARISON_SECTIONS);
});

Deno.test("values that are no numbers are gaps and dashes", () => {
  const metrics = (step: number) => ({ reward: step === 2 ? NaN : step, loss: Infinity });
  const run = collectRunReport(runFolder(eventsOf(3, metrics)));
  const page = renderRunReport(run);
  checkPage(page);
  const { charts } = JSON.parse(
    between(page, '<script type="application/json" id="data">', "</script>"),
  );
  const reward = charts.find(({ title }: { title: string }) => title === "Reward");
  assertEquals(reward.lines[0].y, [1, null, 3]);
  assertStringIncludes(page, "4 values that were no numbers");
  assert(
    !/NaN|Infinity|undefined/.test(page.slice(page.indexOf("<body>"), page.indexOf("<script"))),
  );

  // With one seed the t interval has no ends.
  const one = renderComparisonReport(comparisonOf(["a", "b"], { seeds: 1 }));
  checkPage(one);
  assert(!/NaN|Infinity|undefined/.test(one.slice(one.indexOf("<body>"), one.indexOf("<script"))));
  assertStringIncludes(one, "Uncertainty where there is no interval");
});

Deno.test("a run has a curve for every domain, its speed and its memory, and what is known comes first", () => {
  const unknown = Object.fromEntries(Array.from({ length: 70 }, (_, i) => [`own/${i}`, i]));
  const events = eventsOf(4, (step) => ({ ...unknown, num_tokens: 100 * step }));
  const measured = events.map((event) =>
    event.type === "step" ? { ...event, timing: { seconds: 2, gpuBytes: 3 * 2 ** 20 } } : event
  );
  const { charts, left } = runCurves(new RunHistory(measured));
  const chartOf = (title: string) => charts.find((chart) => chart.title === title)!;
  assertEquals(chartOf("Speed").lines[0]!.y, [50, 75, 100, 125]);
  assertEquals(chartOf("Memory of the GPU").lines[0]!.y, [3, 3, 3, 3]);
  assertEquals(left, 14); // 70 of its own, tokens, speed, time and memory
  const { domains } = events.find((event) => event.type === "eval")!;
  for (const [split, rows] of Map.groupBy(domains, (domain) => domain.split)) {
    const names = rows.map(({ name }) => name);
    const chart = charts.find(({ id }) => id === `evaluation-${split}`);
    assertEquals(chart?.lines.map(({ label }) => label), names.length > 1 ? names : undefined);
  }
});

Deno.test("a chart keeps its name while metrics that are known better come up", () => {
  const history = new RunHistory(eventsOf(2, () => ({ own: 1 })));
  const idOf = (title: string) =>
    runCurves(history).charts.find((chart) => chart.title === title)?.id;
  const before = idOf("own");
  history.add({
    ...{ time: "", type: "step", step: 3, method: "grpo", metrics: { own: 2, reward: 1 } },
  });
  assertEquals(idOf("own"), before);
  assertNotEquals(idOf("Reward"), undefined);
});

Deno.test("the same input gives the same bytes", () => {
  const path = runFolder(eventsOf(6, (step) => ({ reward: step })), episodesOf(6));
  const pages = [0, 1].map(() => renderRunReport(collectRunReport(path)));
  assertEquals(pages[0], pages[1]);
  const comparisons = [0, 1].map(() => renderComparisonReport(comparisonOf(["a", "b"])));
  assertEquals(comparisons[0], comparisons[1]);
});

Deno.test("the CSV has a row per arm, seed, domain and split, quoted where it must be", () => {
  const comparison = comparisonOf(['a "b", c', "line\nbreak"], { seeds: 2 });
  const csv = comparisonCsv(comparison);
  const rows = parseCsv(csv);
  assertEquals(rows.length, 1 + 3 * 2 * 4);
  assertEquals(rows[0]!.slice(0, 7), [
    ...["arm", "seed", "domain", "split", "prompts", "samples", "pass1"],
  ]);
  assertEquals(new Set(rows.map((row) => row.length)), new Set([17]));
  assertEquals(
    new Set(rows.slice(1).map(([arm]) => arm)),
    new Set(["base", 'a "b", c', "line\nbreak"]),
  );
  const run = comparison.runs[0]!;
  assertEquals(rows[9]!.slice(0, 7), [
    ...['a "b", c', "0", "arith", "train", "5", "2"],
    String(run.domains[0]!.measures.pass1),
  ]);
  const broken = structuredClone(comparison) as unknown as {
    runs: { domains: { measures: { pass1: number } }[] }[];
  };
  broken.runs[0]!.domains[0]!.measures.pass1 = NaN;
  assertEquals(parseCsv(comparisonCsv(broken as unknown as Comparison))[9]![6], "");
});

/** RFC 4180. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\n]*))([,\n])/g)) {
    rows.at(-1)!.push(quoted?.replaceAll('""', '"') ?? plain!);
    if (end === "\n") rows.push([]);
  }
  return rows.slice(0, -1);
}

Deno.test("report() writes the page of a run, and page and table of a comparison", () => {
  const run = runFolder(eventsOf(2, () => ({ reward: 1 })), episodesOf(2));
  assertEquals(report(run), { kind: "run", page: join(run, "report.html"), csv: null });
  assertEquals(
    Deno.readTextFileSync(join(run, "report.html")),
    renderRunReport(collectRunReport(run)),
  );
  const elsewhere = join(folder, "else.html");
  assertEquals(report(run, { out: elsewhere }).page, elsewhere);

  const comparison = comparisonOf(["a", "b"], { seeds: 1 });
  const path = join(folder, "comparison");
  Deno.mkdirSync(path);
  Deno.writeTextFileSync(join(path, "comparison.json"), JSON.stringify(comparison));
  for (let twice = 0; twice < 2; twice++) {
    assertEquals(report(path).csv, join(path, "comparison.csv"));
    const names = Array.from(Deno.readDirSync(path), ({ name }) => name).sort();
    assertEquals(names, ["comparison.csv", "comparison.json", "report.html"]);
  }
  assertEquals(
    Deno.readTextFileSync(join(path, "report.html")),
    renderComparisonReport(parseComparison(JSON.stringify(comparison))),
  );
  assertEquals(Deno.readTextFileSync(join(path, "comparison.csv")), comparisonCsv(comparison));
});

Deno.test("report() says what it needs where it gets something else", () => {
  const fails = (path: string, message: string) => {
    assertStringIncludes(assertThrows(() => report(path), CheckpointError).message, message);
  };
  const make = (name: string, files: Record<string, string>) => {
    const path = join(folder, name);
    Deno.mkdirSync(path);
    for (const [file, text] of Object.entries(files)) {
      Deno.writeTextFileSync(join(path, file), text);
    }
    return path;
  };
  fails(join(folder, "absent"), "there is no such folder");
  fails(make("empty", {}), "this folder holds nothing");
  fails(make("model", { "config.json": "{}", "model.safetensors": "" }), "it is a model");
  fails(make("half", { "config.json": "{}" }), "this folder holds config.json");
  const parent = make("parent", {});
  Deno.renameSync(runFolder([]), join(parent, "run-a"));
  fails(parent, `name one of them, for instance "${join(parent, "run-a")}"`);
  fails(join(parent, "run-a", "config.json"), "it is a file");
  fails(make("text", { "comparison.json": "{" }), "Cannot read comparison");
  const wrong = { ...comparisonOf(["a"]), runs: [{ arm: 7 }] };
  fails(make("wrong", { "comparison.json": JSON.stringify(wrong) }), "runs.0.arm: ");
  const run = runFolder([], []);
  Deno.writeTextFileSync(join(run, "events.jsonl"), "{\n");
  fails(run, "line 1 is not JSON");
});

Deno.test("a page that cannot be written leaves nothing behind", () => {
  const run = runFolder(eventsOf(1, () => ({})));
  const out = join(run, "no such folder", "page.html");
  assertThrows(() => report(run, { out }), CheckpointError, "page.html");
  assertEquals(Array.from(Deno.readDirSync(run), ({ name }) => name).sort(), [
    ...["config.json", "episodes.jsonl", "events.jsonl"],
  ]);
});

Deno.test("the first group of a step is recorded with its tokens, the others without", () => {
  const tokenizer = Tokenizer.bytes();
  const ids = Uint32Array.from([...tokenizer.encode("5 € \0"), tokenizer.token("<|end|>"), 0xe2]);
  const episode = episodeWith([look]);
  const rollout = {
    task: { id: "t", answer: "68", reference: chain },
    episode,
    ids,
    mask: Uint8Array.from(ids, (_, i) => i % 2),
    logprobs: Float32Array.from(ids, (_, i) => -i / 3),
    reward: { total: 1, terms: { tools: 1 }, weighted: { tools: 0.2 } },
    advantage: -0.123456,
  } as unknown as CreditedRollout;
  const first = episodeRecord(rollout, { step: 1, group: 0, sample: 3 }, tokenizer);
  const { tokens, reference, weighted, ...rest } = first;
  assertEquals(
    rest,
    episodeRecord(rollout, { step: 1, group: 0, sample: 3 }, tokenizer) && {
      ...episodeRecord(rollout, { step: 1, group: 1, sample: 3 }, tokenizer),
      group: 0,
    },
  );
  assertEquals(reference, chain);
  assertEquals(weighted as unknown, { tools: 0.2 });
  assertEquals(tokens!.text.join(""), first.text);
  assertEquals(tokens!.text.slice(0, 5), ["5", " ", "", "", "€"]);
  assertEquals(tokens!.mask, "010101010");
  assertEquals(tokens!.logprobs.slice(0, 3), [0, -0.3333, -0.6667]);
  assert(!Object.is(tokens!.logprobs[0], -0));
  assertEquals(tokens!.advantages, -0.1235);
  const none = { ...rollout, task: { ...rollout.task, reference: null } };
  assertEquals(episodeRecord(none, { step: 1, group: 0, sample: 0 }, tokenizer).reference, null);
});

Deno.test("scopes are averaged over prompts, and curves where every seed has a point", () => {
  const domain = (split: string, pass1: number, prompts: number) => ({
    ...{ name: "x", split },
    outcomes: Array.from({ length: prompts }, () => [1 as const]),
    measures: { pass1, greedy: 0, validity: 0, similarity: 0, calls: 0, toolF1: 0 },
  });
  const domains = [domain("train", 0.9, 9), domain("depth", 0.2, 3), domain("domain", 0.6, 1)];
  assertAlmostEquals(scopeMean(domains, "held-out", "pass1"), 0.3);
  assertAlmostEquals(scopeMean(domains, "train", "pass1"), 0.9);
  assert(Number.isNaN(scopeMean(domains, "composition", "pass1")));

  const comparison = comparisonOf(["a"], { seeds: 2, points: 3 });
  const [one, two] = comparison.runs;
  const shorter = { ...two!, curve: two!.curve.slice(0, 2) };
  const curve = meanCurve([one!, shorter], "rollouts", "train");
  assertEquals(curve.x, [0, 128]);
  assertAlmostEquals(
    curve.y[1]!,
    (one!.curve[1]!.pass1.train + two!.curve[1]!.pass1.train) / 2,
  );
  const view = new ComparisonView({ ...comparison, runs: [one!] });
  assertEquals(view.missing(), [{ arm: "a", seed: 1 }]);
  assertEquals(view.arms, ["base", "a"]);
  const base = scopeMean(comparison.base[0]!, "train", "pass1");
  const other = scopeMean(comparison.base[1]!, "train", "pass1");
  assertAlmostEquals(view.summary("base", "train")!.pass1.mean, (base + other) / 2);
});

Deno.test("long curves are averaged, axes are round, numbers are short", () => {
  const xs = Array.from({ length: 1000 }, (_, i) => i + 1);
  const { x, y, width } = thinned(xs, xs.map((x) => x === 500 ? NaN : x), 100);
  assertEquals([x.length, width, x[0], x.at(-1), y[0]], [100, 10, 10, 1000, 5.5]);
  assertEquals(y[49], (491 + 499) / 2);
  assertEquals(niceScale([0, 85.8]).ticks, [0, 20, 40, 60, 80, 100]);
  assertEquals(niceScale([-0.03, 0.11]).ticks, [-0.05, 0, 0.05, 0.1, 0.15]);
  assertEquals(niceScale([3, NaN, Infinity]).at(3), "0%");
  assertEquals(niceScale([]).ticks.length, 6);
  assertEquals([short(1234.5), short(-0.00001234), short(0), short(null)], [
    ...["1,230", "\u22121.23e-5", "0", "\u2013"],
  ]);
  assertEquals([fixed(-0.001), signed(0.04), signed(2)], ["0.00", "0.0", "+2.0"]);
  assertEquals(interval({ mean: 1, low: -Infinity, high: Infinity }, short), "1");
});

Deno.test("templates escape what they are given, and pieces fit into what they may take", () => {
  const piece = markup`<b title="${'"'}">${"<"}${["&", markup`<i></i>`]}${null}${false}${0}</b>`;
  assertEquals(String(piece), '<b title="&quot;">&lt;&amp;<i></i>0</b>');
  assertEquals(
    visible("a\tb\nc\0\x85\u2066\ufffe\ud800"),
    "a\tb\nc\u2400\ufffd\u27e8U+2066\u27e9\ufffd\ufffd",
  );
  assertEquals(clip("abcdef", 4), "abcd\u2026 (2 more characters)");
  const pieces = ["é", "é", "é"].map((text) => markup`${text}`);
  assertEquals([within(pieces, 5).length, within(pieces, 6).length], [2, 3]);
  assertNotEquals(within(pieces, 1).length, 1);
});
