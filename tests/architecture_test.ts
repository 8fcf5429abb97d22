// Holds the layers of docs/architecture.md: imports point downwards only. LAYERS is the one place
// that says who may import whom; a file that belongs to none of them fails as well.

import { assert, assertEquals } from "@std/assert";
import { dirname, join, normalize, relative } from "@std/path";
import project from "../deno.json" with { type: "json" };

/** A group of files with the same rights. */
interface Layer {
  name: string;
  /** Which files belong to it; the first layer that matches a file has it. */
  files: RegExp;
  /** The layers it may import beside itself; "*" is every layer. */
  may: readonly string[];
  /** Whether it may import packages from npm and JSR. */
  packages: boolean;
  /** Whether it may name `Deno.*`. */
  deno: boolean;
}

const pure = { packages: false, deno: false };
const library = { packages: true, deno: false };
const outside = { packages: true, deno: true };

const LAYERS: readonly Layer[] = [
  { name: "io", files: /^src\/io\//, may: [], ...outside },
  { name: "shaders", files: /^shaders\//, may: [], ...pure },
  { name: "gpu kernels", files: /^src\/gpu\/kernels\.ts$/, may: ["gpu", "shaders"], ...pure },
  { name: "gpu", files: /^src\/gpu\//, may: ["gpu kernels"], ...pure },
  { name: "tensor", files: /^src\/tensor\.ts$/, may: ["gpu", "gpu kernels"], ...pure },
  { name: "tape", files: /^src\/tape\.ts$/, may: ["gpu", "gpu kernels", "tensor"], ...pure },
  // Numbers from a seed on the host: plain arithmetic that anyone may use.
  { name: "random", files: /^src\/random\.ts$/, may: [], ...pure },
  // The slow f64 versions that kernels are tested against: plain arithmetic on numbers.
  { name: "reference", files: /^src\/ops\/reference\//, may: [], ...pure },
  {
    // Every kernel against its slow version, for the tests and `doctor`.
    name: "checks",
    files: /^src\/ops\/checks\//,
    may: ["gpu", "gpu kernels", "tensor", "tape", "ops", "optim", "reference", "random"],
    ...pure,
  },
  {
    name: "ops",
    files: /^src\/ops\//,
    may: ["gpu", "gpu kernels", "tensor", "tape"],
    ...pure,
  },
  {
    name: "optim",
    files: /^src\/optim\//,
    may: ["gpu", "gpu kernels", "tensor", "tape"],
    ...pure,
  },
  { name: "text", files: /^src\/text\//, may: [], ...library },
  // Programs and servers of others', which are talked to through the official client.
  { name: "mcp", files: /^src\/tools\/mcp\//, may: ["io", "text", "tools"], ...outside },
  {
    // Subprocesses, and in child/ what runs in them.
    name: "sandbox",
    files: /^src\/tools\/sandbox\//,
    may: ["tools", "text"],
    ...outside,
  },
  { name: "tools", files: /^src\/tools\//, may: ["text"], ...library },
  { name: "tasks", files: /^src\/tasks\//, may: ["text", "tools", "random"], ...library },
  {
    // Turns strings into tokens and back, which the rest of model/ has no business with.
    name: "generation",
    files: /^src\/model\/generate\w*\.ts$/,
    may: ["gpu", "tensor", "tape", "ops", "io", "text", "model", "random"],
    ...pure,
  },
  {
    name: "model",
    files: /^src\/model\//,
    may: ["gpu", "tensor", "tape", "ops", "io", "generation", "random"],
    ...library,
  },
  {
    // What can be computed from an episode alone: rewards, advantages, statistics. No GPU.
    name: "episodes",
    files:
      /^src\/rl\/(advantage|alignment|arguments|call_pairs|episode|metrics|reward\w*|statistics)\.ts$/,
    may: ["text", "tools", "tasks", "random"],
    ...pure,
  },
  {
    name: "rl",
    files: /^src\/rl\//,
    may: [
      ...["gpu", "tensor", "tape", "ops", "optim", "io", "model", "generation"],
      ...["text", "tools", "tasks", "episodes", "random"],
    ],
    ...library,
  },
  {
    name: "run",
    files: /^src\/run\//,
    may: [
      ...["gpu", "gpu kernels", "tensor", "tape", "random", "ops", "reference", "checks", "optim"],
      ...["io", "model", "generation", "text", "tools", "mcp", "sandbox", "tasks"],
      ...["episodes", "rl"],
    ],
    ...outside,
  },
  {
    // Models over HTTP, as OpenAI's clients know them.
    name: "inference",
    files: /^src\/serve\/openai\//,
    may: ["io", "ops", "model", "generation", "text", "run"],
    ...outside,
  },
  {
    // Pages about runs: what they show comes in as data. Calls stand beside the teacher's as rewards
    // pair them.
    name: "web",
    files: /^src\/web\//,
    may: ["run", "episodes"],
    ...library,
  },
  {
    // Runs over HTTP: may know what a run is, and nothing of how one is made.
    name: "serve",
    files: /^src\/serve\//,
    may: ["run", "io", "inference", "web"],
    ...outside,
  },
  { name: "bench", files: /^bench\//, may: ["*"], ...outside },
  { name: "top", files: /^(mod|cli|server)\.ts$/, may: ["*"], ...outside },
  // What a user writes: the public API, and nothing that lies behind it.
  { name: "examples", files: /^examples\//, may: ["top"], packages: false, deno: true },
];

/** How long a source file may get before it is time to look for its second idea. */
const MAX_LINES = 400;

const ROOT = join(import.meta.dirname!, "..");

/** What is wrong with one file, given by its path from the root and its text. */
function violations(path: string, text: string): string[] {
  const layer = layerOf(path);
  if (!layer) return [`${path} belongs to no layer: give it one in LAYERS`];
  const found: string[] = [];
  for (const specifier of importsOf(text)) {
    if (!specifier.startsWith(".")) {
      const isPackage = !specifier.startsWith("node:");
      if (isPackage && !layer.packages) {
        found.push(`${path} (${layer.name}) imports the package "${specifier}"`);
      } else if (!isPackage && !layer.deno) {
        found.push(`${path} (${layer.name}) imports "${specifier}", which browsers don't have`);
      }
      continue;
    }
    const target = normalize(join(dirname(path), specifier)).replaceAll("\\", "/");
    const below = layerOf(target);
    // Data that a program carries along (a version, a base model) is for the outermost layers.
    if (!below && layer.deno && /^(deno\.json$|assets\/)/.test(target)) continue;
    if (below === layer || layer.may.includes("*") || layer.may.includes(below?.name ?? "")) {
      continue;
    }
    found.push(
      `${path} (${layer.name}) imports ${target} (${below?.name ?? "no layer"}); ` +
        `it may import ${layer.may.join(", ") || "nothing outside its own folder"}`,
    );
  }
  if (!layer.deno && /\bDeno\./.test(withoutComments(text))) {
    found.push(`${path} (${layer.name}) names Deno.*; take what it needs as a parameter`);
  }
  return found;
}

function layerOf(path: string): Layer | undefined {
  return LAYERS.find((layer) => layer.files.test(path));
}

/** Every module specifier of a source text, static and dynamic. */
function importsOf(text: string): string[] {
  const code = withoutComments(text);
  const patterns = [
    /^(?:import|export)\s[^"'`;=()]*?\bfrom\s*["']([^"']+)["']/gm,
    /^import\s*["']([^"']+)["']/gm,
    /\bimport\(\s*["'`]([^"'`]+)["'`]/g,
  ];
  return patterns.flatMap((pattern) => [...code.matchAll(pattern)].map((match) => match[1]!));
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}

async function* sources(folder: string, endings: RegExp): AsyncGenerator<string> {
  let entries: Deno.DirEntry[];
  try {
    entries = await Array.fromAsync(Deno.readDir(join(ROOT, folder)));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  for (const entry of entries.sort((a, b) => a.name < b.name ? -1 : 1)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory) yield* sources(path, endings);
    else if (endings.test(entry.name)) yield relative(".", path).replaceAll("\\", "/");
  }
}

async function layeredFiles(): Promise<string[]> {
  const top = await Array.fromAsync(Deno.readDir(ROOT));
  return [
    ...top.filter((entry) => entry.isFile && entry.name.endsWith(".ts")).map(({ name }) => name),
    ...await Array.fromAsync(sources("src", /\.ts$/)),
    ...await Array.fromAsync(sources("bench", /\.ts$/)),
    ...await Array.fromAsync(sources("examples", /\.ts$/)),
  ];
}

Deno.test("every import points downwards, and only the outer layers know Deno", async () => {
  const found: string[] = [];
  for (const path of await layeredFiles()) {
    found.push(...violations(path, await Deno.readTextFile(join(ROOT, path))));
  }
  assertEquals(found, []);
});

Deno.test(`no source file is longer than ${MAX_LINES} lines`, async () => {
  const paths = [
    ...await layeredFiles(),
    ...await Array.fromAsync(sources("shaders", /\.wgsl$/)),
    ...await Array.fromAsync(sources("scripts", /\.ts$/)),
  ];
  const tooLong: string[] = [];
  for (const path of paths) {
    const lines = (await Deno.readTextFile(join(ROOT, path))).trimEnd().split("\n").length;
    if (lines > MAX_LINES) tooLong.push(`${path}: ${lines} lines`);
  }
  assertEquals(tooLong, []);
});

Deno.test("what is heavy is loaded by those who use it, and not downloaded by others", async () => {
  // Deno downloads all that it sees in the graph of imports; types are no part of that.
  const heavy = /^import (?!type)[^;]*"@modelcontextprotocol|import\("@modelcontextprotocol/m;
  for (const path of await layeredFiles()) {
    assertEquals(heavy.test(await Deno.readTextFile(join(ROOT, path))), false, path);
  }
  assert(project.unstable.includes("npm-lazy-caching"));
});

Deno.test("an upward import is caught, however it is written", () => {
  const upward = [
    `import { train } from "../rl/trainer.ts";`,
    `import {\n  type Config,\n  train,\n} from "../rl/trainer.ts";`,
    `import type { Config } from '../rl/trainer.ts';`,
    `export * from "../rl/trainer.ts";`,
    `export { train } from "../rl/trainer.ts";`,
    `import "../rl/trainer.ts";`,
    `async function f() {\n  await import("../rl/trainer.ts");\n}`,
    `type Config = import("../rl/trainer.ts").Config;`,
  ];
  for (const text of upward) {
    assertEquals(violations("src/ops/linear.ts", text), [
      "src/ops/linear.ts (ops) imports src/rl/trainer.ts (rl); " +
      "it may import gpu, gpu kernels, tensor, tape",
    ]);
  }
});

Deno.test("forbidden neighbours are caught, allowed ones are not", () => {
  const allowed = (from: string, specifier: string) =>
    violations(from, `import { x } from "${specifier}";`).length === 0;
  const rows: [from: string, specifier: string, allowed: boolean][] = [
    ["src/ops/linear.ts", "../tape.ts", true],
    ["src/ops/linear.ts", "../optim/adamw.ts", false],
    ["src/optim/adamw.ts", "../ops/linear.ts", false],
    ["src/ops/linear.ts", "./reference/matmul.ts", false],
    ["src/ops/checks/linear.ts", "../reference/matmul.ts", true],
    ["src/gpu/device.ts", "../../shaders/matmul.wgsl", false],
    ["src/gpu/kernels.ts", "../../shaders/matmul.wgsl", true],
    ["src/model/decoder.ts", "../ops/linear.ts", true],
    ["src/model/decoder.ts", "../io/safetensors.ts", true],
    ["src/model/decoder.ts", "../optim/adamw.ts", false],
    ["src/model/decoder.ts", "../text/tokenizer.ts", false],
    ["src/model/generate.ts", "../text/tokenizer.ts", true],
    ["src/io/checkpoint.ts", "../model/config.ts", false],
    ["src/text/tool_call.ts", "../tools/tool.ts", false],
    ["src/tools/tool.ts", "../text/tool_call.ts", true],
    ["src/tools/tool.ts", "../model/generate.ts", false],
    ["src/tasks/task.ts", "../tools/tool.ts", true],
    ["src/tasks/task.ts", "../gpu/device.ts", false],
    ["src/rl/grpo.ts", "../model/decoder.ts", true],
    ["src/rl/grpo.ts", "./advantage.ts", true],
    ["src/rl/advantage.ts", "./grpo.ts", false],
    ["src/rl/reward.ts", "../tensor.ts", false],
    ["src/rl/reward.ts", "../tasks/task.ts", true],
    ["src/rl/grpo.ts", "../run/config.ts", false],
    ["src/run/config/mod.ts", "../../rl/grpo.ts", true],
    ["src/run/config/mod.ts", "../../../mod.ts", false],
    ["src/run/config/mod.ts", "../../../deno.json", true],
    ["src/rl/grpo.ts", "../../deno.json", false],
    ["src/gpu/device.ts", "valibot", false],
    ["src/run/config/mod.ts", "valibot", true],
    ["src/rl/grpo.ts", "node:fs", false],
    ["cli.ts", "./mod.ts", true],
    ["examples/regret.ts", "../mod.ts", true],
    ["examples/regret.ts", "../src/rl/reward.ts", false],
    ["examples/regret.ts", "@std/path", false],
  ];
  for (const [from, specifier, expected] of rows) {
    assertEquals(allowed(from, specifier), expected, `${from} -> ${specifier}`);
  }
});

Deno.test("Deno.* is caught in the core, but not in its comments", () => {
  assertEquals(violations("src/rl/grpo.ts", `const x = Deno.env.get("X");`).length, 1);
  assertEquals(violations("src/rl/grpo.ts", `// as Deno.env does\n/** Deno.args */`), []);
  assertEquals(violations("src/io/checkpoint.ts", `Deno.readFileSync("x");`), []);
});

Deno.test("a file outside every layer is caught", () => {
  assertEquals(violations("src/utils.ts", "").length, 1);
});
