// docs/algorithms.md names what there is: files and functions, choices of the config, metrics.

import { assert, assertEquals } from "@std/assert";
import { Gpu, train } from "../mod.ts";
import { Decoder } from "../src/model/decoder.ts";
import { ValueHead } from "../src/model/value_head.ts";
import { Learner } from "../src/rl/learner.ts";
import { ppoUpdate } from "../src/rl/ppo.ts";
import { settings } from "../src/run/config/schema.ts";
import { tiny } from "./models.ts";

const text = Deno.readTextFileSync(new URL("../docs/algorithms.md", import.meta.url));

/** The rows of all tables of a part of the text, as cells. */
const rowsOf = (part: string) =>
  part.split("\n").filter((line) => line.startsWith("| ")).map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  );

/** The part below a heading. */
function under(heading: string): string {
  const level = /^#+/.exec(heading)![0].length;
  const start = text.indexOf(`\n${heading}\n`);
  assert(start >= 0, `there is no "${heading}"`);
  const rest = text.slice(start + heading.length + 2);
  const next = rest.search(new RegExp(`^#{1,${level}} `, "m"));
  return next < 0 ? rest : rest.slice(0, next);
}

/** The names in backticks of the first cells. */
const namedIn = (heading: string) =>
  rowsOf(under(heading)).flatMap(([first]) => /^`([^`]+)`$/.exec(first!)?.[1] ?? []);

Deno.test("every file that is named exists, and has the functions that are named with it", () => {
  const places = [...text.matchAll(/`((?:src|shaders|examples|tests)\/[\w./]*)(?:: ([\w, ]+))?`/g)];
  assert(places.length > 40);
  for (const [, path, names = ""] of places) {
    const at = new URL(`../${path}`, import.meta.url);
    if (path!.endsWith("/")) {
      assert(Deno.statSync(at).isDirectory, path);
      continue;
    }
    const code = Deno.readTextFileSync(at);
    for (const name of names.split(/, ?/).filter((name) => name !== "")) {
      assert(new RegExp(`\\b(function|class|const|fn) ${name}\\b`).test(code), `${path}: ${name}`);
    }
  }
});

Deno.test("every setting of GRPO is named with its default and every choice", () => {
  const rows = new Map(
    rowsOf(under("## GRPO and its family")).map(([setting, choices]) => [setting, choices!]),
  );
  const own = settings.filter(({ path }) => path.startsWith("grpo."));
  for (const { path, fallback, allowed } of own) {
    const choices = rows.get(`\`${path}\``);
    assert(choices !== undefined, `${path} has no row`);
    const value = Array.isArray(fallback) ? fallback.join(", ") : String(fallback);
    assert(choices.includes(`**\`${value}\`**`), `${path} is ${value} by default, not ${choices}`);
    if (!allowed.startsWith("one of ")) continue;
    const documented = [...choices.matchAll(/`([^`]+)`/g)].map((match) => match[1]);
    assertEquals(documented.join(", "), allowed.slice("one of ".length), path);
  }
  const unknown = [...rows.keys()].filter((name) =>
    name!.startsWith("`grpo.") && !own.some(({ path }) => name === `\`${path}\``)
  );
  assertEquals(unknown, []);
});

const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));

/** The metrics of the steps of a tiny run, and of its evaluations. */
async function metricsOfRun(settings: Record<string, unknown>, prompts = 0) {
  const steps = new Set<string>();
  const evaluations = new Set<string>();
  await train({
    ...{ steps: 1, warmupSft: 1, sft: { batch: 2 }, evaluation: { prompts, samples: 1 } },
    rollout: { prompts: 4, group: 4, slots: 16 },
    ...settings,
  }, {
    runs: folder,
    onEvent(event) {
      if (event.type === "step") Object.keys(event.metrics).forEach((name) => steps.add(name));
      if (event.type !== "eval") return;
      event.domains.flatMap(Object.keys).forEach((name) => evaluations.add(name));
    },
  });
  return { steps, evaluations };
}

/** The metrics of an update of PPO whose critic is a model of its own. */
async function metricsOfPpo(): Promise<string[]> {
  using gpu = await Gpu.open();
  using model = Decoder.create(gpu, tiny, { seed: 1 });
  using value = Decoder.create(gpu, tiny, { seed: 2 });
  using head = new ValueHead(gpu, tiny.hiddenSize);
  const adamw = { betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0, gradClip: 1 } as const;
  using learner = new Learner(model, adamw);
  using critic = new Learner(value, { ...adamw, extra: head.parameters });
  const samples = [0, 1].map((score) => ({
    ids: Uint32Array.of(1, 2, 3, 4),
    mask: Uint8Array.of(0, 0, 1, 1),
    logprobs: Float32Array.of(0, 0, -4, -4),
    score,
    finished: true,
  }));
  const { metrics } = await ppoUpdate(
    { learner, head, critic, reference: model },
    samples,
    { learningRate: 1e-3, tokenBudget: 64, stream: "docs" },
  );
  return Object.keys(metrics);
}

/** Names with what differs from run to run left open. */
const open = (names: Iterable<string>) =>
  new Set([...names].map((name) =>
    name.replace(/^(rewards|term_weights)\/\w+$/, "$1/<term>")
      .replace(/^tools\/\w+\/(\w+)$/, "tools/<tool>/$1")
  ));

Deno.test("every metric of a run is named, and every name is that of a metric", async () => {
  const plain = await metricsOfRun({}, 1);
  const steered = { klCoef: 0.01, entropyCoef: 0.01, weighting: "entropy" };
  const others = [
    await metricsOfRun({ grpo: steered }),
    await metricsOfRun({ grpo: { klCoef: 0.01, klIn: "reward" } }),
  ];
  const reinforced = open([plain, ...others].flatMap(({ steps }) => [...steps]));
  assertEquals(
    [...reinforced].sort(),
    [...namedIn("### Episodes, of GRPO"), ...namedIn("### Updates, of GRPO and PPO")].sort(),
  );
  assert(!others[1]!.steps.has("kl"), "where it is in the reward, no loss knows the divergence");
  assertEquals(
    [...plain.evaluations].filter((name) => name !== "name" && name !== "split").sort(),
    namedIn("### Evaluations").sort(),
  );
  const updates = namedIn("### Updates, of GRPO and PPO");
  assertEquals(
    (await metricsOfPpo()).filter((name) => !updates.includes(name)).sort(),
    namedIn("### Values, of PPO").sort(),
  );
});

Deno.test("what distillation and preference say beside that is named, and no more", async () => {
  const teacher = "assets/base-nano";
  const { steps: general } = await metricsOfRun({});
  const found = [
    await metricsOfRun({ method: "dpo" }),
    await metricsOfRun({ method: "distill", distill: { teacher } }),
  ].flatMap(({ steps }) => [...steps]);
  assertEquals(
    // Which tools are called differs from run to run.
    found.filter((name) => !general.has(name) && !/^tools\/\w+\/\w+$/.test(name)).sort(),
    namedIn("### Imitation, distillation, DPO").sort(),
  );
});

Deno.test("every option that a warning recommends is named with it", () => {
  const code = Deno.readTextFileSync(new URL("../src/rl/watchdog.ts", import.meta.url));
  const options = new Set([...code.matchAll(/--[a-z][\w.-]*[a-z]/g)].map(([option]) => option));
  const warnings = under("## Warnings");
  assert(options.size > 8);
  for (const option of options) assert(warnings.includes(option), option);
});
