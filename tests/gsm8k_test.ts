// GSM8K's solutions as trajectories: replayed through the tools, where do they lead?

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { parseGsm8k } from "../src/tasks/formats/gsm8k.ts";
import { convertSolution } from "../src/tasks/formats/gsm8k_solution.ts";
import { checkAnswer, type Reference, type Task } from "../src/tasks/task.ts";
import { calculator } from "../src/tools/calculator.ts";
import { callTool } from "../src/tools/tool.ts";
import { testData } from "./data.ts";

const tools = calculator();

/** The calls of a solution as text, or why there are none. */
function calls(solution: string): string[] | string {
  const made = convertSolution(solution, tools);
  return typeof made === "string"
    ? made
    : made.map(({ name, arguments: { a, b }, result }) => `${name} ${a} ${b} = ${result}`);
}

Deno.test("a calculation that is not marked is read from the text, if it comes to what is stated", () => {
  const cases: [solution: string, expected: string[]][] = [
    ["3*8=<<3*8=24>>24 degrees.\nThat takes 24/4=6 hours.", ["mul 3 8 = 24", "div 24 4 = 6"]],
    ["He has $2000-$600 = $1,400 left", ["sub 2000 600 = 1400"]],
    ["18 minutes + 30 minutes + 6 minutes = 54 minutes", ["add 18 30 = 48", "add 48 6 = 54"]],
    ["It earns $600/weekday * 5 weekdays = $3000", ["mul 600 5 = 3000"]],
    ["23 total meters \u2013 13 meters = 10 meters", ["sub 23 13 = 10"]],
    ["12 x 1.25 = 15 ounces", ["mul 12 1.25 = 15"]],
    ["So 3 buys 2 and 3 x 2 = 6 in all", ["mul 3 2 = 6"]],
    ["It is 2/8 x 100% = 25% of them", ["div 2 8 = 0.25", "mul 0.25 100 = 25"]],
    ["That is 50 - 16 = <<34=34>>34", ["sub 50 16 = 34"]],
    // Marked as well, or said twice: one call.
    ["She has 10+5=<<10+5=15>>15. And 10+5=15 is enough", ["add 10 5 = 15"]],
    ["4+4 = <<4+4=8>>8 = 16/2 = 8", ["add 4 4 = 8", "div 16 2 = 8"]],
  ];
  for (const [solution, expected] of cases) assertEquals(calls(solution), expected, solution);
});

Deno.test("what is not a calculation, or comes to something else, is not read", () => {
  const none = ["7 - 2 = 6 apples", "so x = 4", "2x + 3 = 15", "10 miles = 50 minutes", "75-X=25"];
  for (const solution of none) assertEquals(calls(solution), "no calculation", solution);
  assertEquals(calls("It is <<34=34>>34"), "nothing to calculate");
});

/** Runs the calls of a reference anew; the last result is what they lead to. */
async function replay({ calls }: Reference): Promise<number> {
  let last: unknown;
  for (const call of calls) {
    const tool = tools.all.find(({ name }) => name === call.name)!;
    const outcome = await callTool(tool, call.arguments, {});
    assertEquals([outcome.status, outcome.result], ["ok", call.result]);
    last = outcome.result;
  }
  return last as number;
}

/** Why a trajectory does not lead to the answer. */
function cause(task: Task, solution: string, last: number): string {
  const answer = Number(task.answer);
  const known = task.reference!.calls.flatMap(({ arguments: { a, b }, result }) => [a, b, result]);
  if (checkAnswer(task, String(100 * last))) return "in per cent or cents";
  if (Math.abs(last - answer) < 1) return "rounded";
  if (known.includes(answer)) return "chosen among numbers known";
  if (/[a-z] ?= ?<?<?\$?\d|\d ?\*? ?[a-z] ?[-+=]/im.test(solution)) return "an unknown solved for";
  return "a last step in words, or a mistake";
}

const data = testData("gsm8k", "train.jsonl");

Deno.test({
  name: `at least 97 % of the converted solutions lead to the answer${data.hint}`,
  ignore: data.folder === null,
  async fn() {
    for (const file of ["train.jsonl", "test.jsonl"]) {
      const text = await Deno.readTextFile(join(data.folder!, file));
      const solutions = text.trimEnd().split("\n").map((line) => JSON.parse(line).answer as string);
      const { tasks, report } = parseGsm8k(text, { source: file });
      const causes: Record<string, number> = {};
      let right = 0;
      for (const task of tasks) {
        const last = await replay(task.reference!);
        if (checkAnswer(task, String(last))) right++;
        else {
          const why = cause(task, solutions[task.origin!.line - 1]!, last);
          causes[why] = (causes[why] ?? 0) + 1;
        }
      }
      const share = right / tasks.length;
      console.log(`${file}:`, report, `${right} right, ${(100 * share).toFixed(1)} %;`, causes);
      assert(share >= 0.97, `${file}: only ${right} of ${tasks.length}`);
    }
  },
});
