// What a run trains on, is evaluated on, and is chosen by: no prompt is two of these.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { ConfigError, resolveConfig } from "../src/run/config/mod.ts";
import { chatOf } from "../src/run/student.ts";
import { calculator } from "../src/tools/calculator.ts";
import { tool } from "../src/tools/tool.ts";
import { openTools } from "../src/run/tools/mod.ts";
import { openTasks, requireValidation } from "../src/run/tasks/source.ts";
import { evaluationSuite, validationSuite } from "../src/tasks/domains/mod.ts";
import { MissingReferenceError } from "../src/tasks/task.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";

const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));
const chat = chatOf(Tokenizer.bytes());

/** The config of a task file with so many sums, every fourth of which is held out as deeper. */
function sums(count: number) {
  const lines = Array.from({ length: count }, (_, i) =>
    JSON.stringify({
      prompt: `${i} plus 5`,
      answer: i + 5,
      domain: "sums",
      split: i % 4 === 0 ? "depth" : "train",
      reference: { calls: [{ name: "add", arguments: { a: i, b: 5 } }], answer: `${i + 5}` },
    }));
  const tasks = join(folder, `${count}.jsonl`);
  Deno.writeTextFileSync(tasks, lines.join("\n"));
  return resolveConfig({ flags: { tasks, evaluation: { prompts: 1000 } } });
}

Deno.test("a file's prompts are for training, for evaluation, or to choose models by", async () => {
  const config = sums(400);
  const { draw, evaluation } = await openTasks(config, calculator().all, chat, 2048);
  const { evaluation: validation } = await openTasks(config, calculator().all, chat, 2048, {
    validation: 1000,
  });
  const promptsOf = (tasks: readonly { prompt: string }[]) =>
    new Set(tasks.map(({ prompt }) => prompt));
  const trained = promptsOf(draw(0, 0, 400));
  const evaluated = promptsOf(evaluation.flatMap(({ tasks }) => tasks));
  const chosenBy = promptsOf(validation.flatMap(({ tasks }) => tasks));
  assert(evaluated.size > 10 && chosenBy.size > 10);
  assertEquals(
    trained.union(evaluated).union(chosenBy).size,
    trained.size + evaluated.size +
      chosenBy.size,
  );
  assertEquals(new Set(evaluation.map(({ split }) => split)), new Set(["train", "depth"]));
  assertEquals(validation.map(({ split }) => split), ["train"]);
  const [few] =
    (await openTasks(config, calculator().all, chat, 2048, { validation: 3 })).evaluation;
  assertEquals(few!.tasks.length, 3);
  await requireValidation(config);
});

Deno.test("a file with nothing to choose by is refused where a model has to be chosen", async () => {
  const config = sums(3);
  await assertRejects(() => requireValidation(config), ConfigError, "none is held out for that");
  await assertRejects(
    () => openTasks(config, calculator().all, chat, 2048, { validation: 24 }),
    ConfigError,
    "of its 3 tasks",
  );
  await openTasks(config, calculator().all, chat, 2048);
  await requireValidation(resolveConfig()); // the built-in domains have as many as it takes
});

Deno.test("built-in prompts to choose by are none that are reported on, however many these are", () => {
  const contents = (suite: ReturnType<typeof evaluationSuite>) =>
    new Set(
      suite.filter(({ split }) => split === "train")
        .flatMap(({ tasks }) => tasks.map(({ prompt, world }) => JSON.stringify([prompt, world]))),
    );
  const apart = validationSuite(24, 400);
  assert(contents(apart).isDisjointFrom(contents(evaluationSuite(400))));
  // Fewer evaluation prompts do not change what is chosen by.
  assertEquals(validationSuite(24, 64), validationSuite(24));
  assertThrows(() => validationSuite(0), RangeError, "perSplit");
});

Deno.test("the calls of a reference whose results are left out are one episode", async () => {
  const sums = new WeakMap<object, number>();
  const total = tool({
    name: "total",
    description: "Adds to what was added before",
    parameters: { type: "object", properties: { a: { type: "number" } }, required: ["a"] },
    stateful: true,
    execute: ({ a }, { episode }) => {
      sums.set(episode!, (sums.get(episode!) ?? 0) + (a as number));
      return sums.get(episode!);
    },
  });
  const calls = [1, 2, 3].map((a) => ({ name: "total", arguments: { a } }));
  const line = (prompt: string) =>
    JSON.stringify({ prompt, answer: 6, reference: { calls, answer: "6" } });
  const tasks = join(folder, "totals.jsonl");
  Deno.writeTextFileSync(tasks, Array.from({ length: 8 }, (_, i) => line(`${i}`)).join("\n"));
  const config = resolveConfig({ flags: { tasks } });
  const { draw } = await openTasks(config, [total], chat, 2048);
  for (const { reference } of draw(0, 0, 2)) {
    assertEquals(reference!.calls.map(({ result }) => result), [1, 3, 6]);
  }
});

Deno.test("what a reference does to the world of its task, no other episode sees", async () => {
  const take = tool({
    name: "take",
    description: "Takes one, and tells how many are left",
    parameters: { type: "object", properties: {} },
    execute: (_, { world }) => --(world as { left: number }).left,
  });
  const tasks = join(folder, "world.jsonl");
  const reference = { calls: [{ name: "take", arguments: {} }], answer: "8" };
  const lines = Array.from({ length: 8 }, (_, i) => ({ prompt: `${i}`, answer: 8, reference }));
  const world = { left: 9 };
  Deno.writeTextFileSync(tasks, lines.map((line) => JSON.stringify({ ...line, world })).join("\n"));
  const { draw } = await openTasks(resolveConfig({ flags: { tasks } }), [take], chat, 2048);
  for (const { world } of draw(0, 0, 2)) assertEquals(world, { left: 9 });
});

Deno.test("to be measured, a model needs nobody to show how, and a file no prompt to train on", async () => {
  const tasks = join(folder, "unreferenced.jsonl");
  const write = (numbers: readonly number[]) =>
    Deno.writeTextFileSync(
      tasks,
      numbers.map((n) => JSON.stringify({ prompt: `${n} plus 5`, answer: n + 5 })).join("\n"),
    );
  const open = (use = {}) =>
    openTasks(resolveConfig({ flags: { tasks } }), calculator().all, chat, 2048, use);
  const numbers = Array.from({ length: 100 }, (_, i) => i);
  write(numbers);
  await assertRejects(() => open(), MissingReferenceError);
  const { evaluation: [all] } = await open({ evaluationOnly: true });
  assert(all!.tasks.length > 3);
  write(numbers.filter((n) => all!.tasks.some(({ prompt }) => prompt === `${n} plus 5`)));
  const { evaluation } = await open({ evaluationOnly: true });
  assertEquals(evaluation[0]!.tasks.length, all!.tasks.length);
});

Deno.test("tools come from modules and by name, and no two may have one name", async () => {
  const module = join(folder, "own.ts");
  const tool = new URL("../src/tools/tool.ts", import.meta.url);
  const source = (name: string) =>
    `import { tool } from "${tool}";
    export const own = tool({ name: "${name}", description: "", parameters: { type: "object" },
      execute: () => 1 });`;
  Deno.writeTextFileSync(module, source("own"));
  const names = async (sources: string[] | null) => {
    await using box = await openTools(sources);
    return box.tools.map(({ name }) => name);
  };
  assertEquals(await names(null), ["add", "sub", "mul", "div"]);
  assertEquals(await names([module, "calculator"]), ["own", "add", "sub", "mul", "div"]);
  assertEquals(resolveConfig({ flags: { tools: module } }).tools, [module]);
  await assertRejects(() => names(["calculater"]), ConfigError, 'did you mean "calculator"');
  const other = join(folder, "other.ts");
  Deno.writeTextFileSync(other, source("add"));
  await assertRejects(() => names(["calculator", other]), ConfigError, 'both have a tool "add"');
  const none = join(folder, "none.ts");
  Deno.writeTextFileSync(none, "export const x = 1;");
  await assertRejects(() => names([none]), ConfigError, "exports none");
});
