// How the benchmarks of growth and of the steady state judge what they measure; hardly any GPU.

import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  climb,
  fitAll,
  fitExponent,
  growthPlots,
  type GrowthReport,
  type GrowthRow,
  writeGrowthPlots,
} from "../bench/growth.ts";
import {
  baseConfig,
  measureStep,
  randomSequences,
  SWEEPS,
  TimeLimitError,
} from "../bench/models.ts";
import { escape, type LinePlot, linePlot, type Point } from "../bench/plot.ts";
import { misses, steady, type SteadyReport } from "../bench/steady.ts";
import { OutOfMemoryError } from "../src/gpu/errors.ts";
import { tiny } from "./models.ts";

const powerLaw = (exponent: number, values: readonly number[]): Point[] =>
  values.map((x) => [x, 3 * x ** exponent]);

Deno.test("the exponent of a power law is found exactly, whatever its factor and spacing", () => {
  for (const exponent of [0, 0.5, 1, 2]) {
    assertAlmostEquals(fitExponent(powerLaw(exponent, [3, 10, 11, 500]))!, exponent, 1e-12);
  }
});

Deno.test("noise that cancels does not move the exponent", () => {
  const noisy: Point[] = [[1, 2], [2, 2], [4, 4], [8, 16]];
  assertAlmostEquals(fitExponent(noisy)!, 1, 1e-12);
});

Deno.test("a single x has no exponent", () => {
  assertEquals(fitExponent([]), null);
  assertEquals(fitExponent([[4, 1]]), null);
  assertEquals(fitExponent([[4, 1], [4, 2]]), null);
});

const cost = { fastestMs: 8, spread: 0.1, peakBytes: 2 ** 21, activationBytes: 2 ** 20 };

Deno.test("what does not fit memory or time is skipped with its reason, and so is all above it", async () => {
  for (const error of [new OutOfMemoryError("no room\n  table"), new TimeLimitError("no room")]) {
    const tried: number[] = [];
    const { rows, skipped } = await climb("width", [64, 128, 256, 512], (x) => {
      tried.push(x);
      return x < 256 ? Promise.resolve(cost) : Promise.reject(error);
    });
    assertEquals(tried, [64, 128, 256]);
    const { peakBytes: bytes, ...rest } = cost;
    assertEquals(rows, [64, 128].map((x) => ({ sweep: "width", x, bytes, ...rest })));
    assertEquals(skipped, [
      { sweep: "width", x: 256, reason: "no room" },
      { sweep: "width", x: 512, reason: "256 was too much already" },
    ]);
  }
});

Deno.test("a fault of the program is not taken for a limit of the machine", async () => {
  const measure = () => Promise.reject(new TypeError("a bug"));
  await assertRejects(() => climb("layers", [1], measure), TypeError, "a bug");
});

/** A report with every point of every sweep, the time growing with `exponent`. */
function fakeReport(exponent: number): GrowthReport {
  const rows = SWEEPS.flatMap(({ name, values, fits }): GrowthRow[] =>
    powerLaw(exponent, values).map(([x, fastestMs]) => ({
      ...{ sweep: name, x, fastestMs, spread: 0, bytes: 1e8 + x, activationBytes: 1e7 },
      ...fits.attention ? { attention: { ms: fastestMs / 2, share: 0.5 } } : {},
    }))
  );
  const adapter = "A <b>\"fast\" & 'new'</b> card (driver 1, 2)";
  return { adapter, rows, skipped: [], fits: fitAll(rows) };
}

Deno.test("every cost of every sweep is fitted, over all points and over the last half", () => {
  const { fits, rows } = fakeReport(1);
  assertEquals(
    fits.map(({ sweep, of }) => `${sweep} ${of}`),
    ["tokens step", "length step", "length attention", "layers step", "width step"]
      .concat(["vocabulary step", "vocabulary activations"]),
  );
  for (const { of, exponent, lastHalf } of fits) {
    assertAlmostEquals(exponent!, of === "activations" ? 0 : 1, 1e-12);
    assertAlmostEquals(lastHalf!, of === "activations" ? 0 : 1, 1e-12);
  }
  // A constant that only small steps feel.
  const bent = rows.map((row) => ({ ...row, fastestMs: Math.max(row.fastestMs, 3000) }));
  const [tokens] = fitAll(bent);
  assert(tokens!.exponent! < 0.9, `${tokens!.exponent}`);
  assertAlmostEquals(tokens!.lastHalf!, 1, 1e-12);
});

Deno.test("a sweep without points has neither a fit nor a chart", () => {
  const rows = fakeReport(1).rows.filter(({ sweep }) => sweep === "layers");
  assertEquals(fitAll(rows).map(({ sweep }) => sweep), ["layers"]);
  const plots = growthPlots({ adapter: "x", rows, skipped: [], fits: [] });
  assertEquals([...plots.keys()], ["growth-layers.svg"]);
});

/** Fails on anything but nested elements with quoted attributes; returns the texts between them. */
function parseXml(xml: string): string[] {
  const open: string[] = [];
  const texts: string[] = [];
  const rest = xml.replace(
    /<(\/?)([a-z]+)((?:\s+[a-zA-Z][\w-]*="[^"<]*")*)\s*(\/?)>|([^<]+)/g,
    (_, close, name, attributes, empty, content) => {
      if (content !== undefined) texts.push(content);
      else if (close) assertEquals(open.pop(), name);
      else if (!empty) open.push(name);
      for (const text of [content ?? "", attributes ?? ""]) {
        assert(!/&(?!(amp|lt|gt|quot|apos);)/.test(text), text);
      }
      return "";
    },
  );
  assertEquals(rest, "");
  assertEquals(open, []);
  return texts.map((text) => text.trim()).filter((text) => text !== "");
}

const plot: LinePlot = {
  title: `a < b & "c"`,
  xLabel: "x's",
  yLabel: "<ms>",
  series: [
    { name: "one & only", points: powerLaw(1, [1, 10, 100]) },
    { name: "flat", points: [[1, 5], [100, 5]] },
  ],
  reference: { name: "slope 2", exponent: 2, through: [100, 300] },
};

Deno.test("charts are well-formed, and what they say is escaped", () => {
  const texts = parseXml(linePlot(plot));
  for (const text of [plot.title, plot.xLabel, plot.yLabel, "one & only", "flat", "slope 2"]) {
    assert(texts.includes(escape(text)), text);
  }
  assertEquals(escape(`<a b="c">'&`), "&lt;a b=&quot;c&quot;&gt;&apos;&amp;");
});

Deno.test("charts have both themes, numbers on both axes, and a dashed reference within them", () => {
  const svg = linePlot({ ...plot, xTicks: [1, 30] });
  assertStringIncludes(svg, "@media (prefers-color-scheme: dark)");
  // The legend has one of its own behind it.
  const reference = svg.match(/<line class="reference" [^>]*>/)![0];
  const [x1, y1, x2, y2] = [...reference.matchAll(/"([\d.]+)"/g)].map(([, place]) => Number(place));
  assert(66 <= x1! && x1! < x2! && x2! <= 616, reference);
  assert(310 >= y1! && y1! > y2! && y2! >= 66, reference);
  const texts = parseXml(svg);
  for (const tick of ["1", "30", "5", "50"]) assert(texts.includes(tick), tick);
});

Deno.test("a chart of one point, or of equal ones, has room around it", () => {
  for (const points of [[[7, 7]], [[1, 7], [2, 7]]] as Point[][]) {
    const svg = linePlot({ ...plot, series: [{ name: "a", points }], reference: undefined });
    assert(!svg.includes("NaN") && !svg.includes("Infinity"), svg);
  }
});

Deno.test("what logarithmic axes can't show is refused", () => {
  const refused: [LinePlot["series"], string][] = [
    [[{ name: "a", points: [[0, 1]] }], "(0, 1) has no place on logarithmic axes"],
    [[{ name: "a", points: [[1, NaN]] }], "(1, NaN) has no place"],
    [[{ name: "a", points: [] }], "have no points"],
    [Array(5).fill({ name: "a", points: [[1, 1]] }), "5 series, there are 4 colours"],
  ];
  for (const [series, message] of refused) {
    assertThrows(() => linePlot({ ...plot, series, reference: undefined }), RangeError, message);
  }
});

Deno.test("a chart of each sweep is written, whatever the adapter is called", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const paths = await writeGrowthPlots(fakeReport(1), `${folder}/docs/plots`);
    assertEquals(paths.map((path) => path.split("growth-")[1]), [
      ...SWEEPS.map(({ name }) => `${name}.svg`),
      "vocabulary-memory.svg",
    ]);
    for (const path of paths) parseXml(await Deno.readTextFile(path));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("every point of every sweep is a batch and a model that exist", () => {
  for (const { name, values, quick, work } of SWEEPS) {
    assertEquals(values.toSorted((a, b) => a - b), values);
    assert(quick.length >= 3 && quick.every((x) => values.includes(x)), name);
    for (const x of values) {
      const { config, tokens, length } = work(x);
      assertEquals(tokens % length, 0);
      assert(length <= config.maxPositions && config.vocabSize % 4 === 0);
      assertEquals(config.heads * config.headDim, config.hiddenSize);
    }
  }
});

Deno.test("random sequences have the tokens asked for, and predict all but the first of each", () => {
  const sequences = randomSequences({ config: baseConfig, tokens: 24, length: 8 });
  assertEquals(sequences.map(({ ids }) => ids.length), [8, 8, 8]);
  for (const { ids, mask } of sequences) {
    assertEquals([...mask], [0, 1, 1, 1, 1, 1, 1, 1]);
    assert(ids.every((id) => id < baseConfig.vocabSize));
  }
  assertThrows(() => randomSequences({ config: baseConfig, tokens: 9, length: 8 }), RangeError);
});

Deno.test("a step is measured, or given up at its limits of time and memory", async () => {
  const work = { config: tiny, tokens: 24, length: 12 };
  const limits = { repetitions: 2, limitMs: 2000, memoryBudget: 2 ** 28 };
  const { fastestMs, spread, peakBytes, activationBytes } = await measureStep(work, limits);
  assert(fastestMs > 0 && spread >= 0 && peakBytes > activationBytes && activationBytes > 0);
  await assertRejects(() => measureStep(work, { ...limits, limitMs: 0 }), TimeLimitError);
  await assertRejects(() => measureStep(work, { ...limits, memoryBudget: 1 }), OutOfMemoryError);
});

const calm: SteadyReport = {
  ...{ adapter: "x", steps: 500, warmup: 100, tokensPerStep: 2000, medianMs: 80 },
  heap: {
    ...{ allocatedPerStep: 4e5, externalPerStep: 0, retainedPerStep: 0 },
    ...{ sampledPerStep: 4e5, allocators: [] },
  },
  residentSet: { afterWarmup: 3e8, atEnd: 3.05e8 },
  ...{ submits: 1, dispatches: 145 },
  created: { buffers: 0, bytes: 0, bindGroups: 0 },
  createdWhileGrowing: { buffers: 9, bytes: 9, bindGroups: 9 },
  busy: null,
};

Deno.test("a steady state misses its targets where it does, and says by how much", () => {
  assertEquals(misses(calm), []);
  assertEquals(
    misses({
      ...calm,
      heap: { ...calm.heap, allocatedPerStep: 1.5e6 },
      residentSet: { afterWarmup: 3e8, atEnd: 3.3e8 },
      created: { buffers: 1, bytes: 256, bindGroups: 2 },
      submits: 1.5,
    }),
    [
      "1,500 kB of heap per step, the target is 1,000 kB",
      "the resident set changed by 10.0 %, the target is 2 %",
      "1 buffers (0.3 kB) and 2 bind groups made, the target is 0",
      "1.5 submits per step, the target is 1",
    ],
  );
});

Deno.test("one step is no steady state", async () => {
  for (const steps of [1, 2.5, NaN]) {
    await assertRejects(() => steady({ steps }), RangeError, `Cannot measure ${steps} steps`);
  }
});
