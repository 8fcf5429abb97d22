import { assert, assertEquals, assertMatch, assertNotEquals, assertThrows } from "@std/assert";
import { callsAnswer, matchesCalls } from "../src/tasks/call_match.ts";
import { behave, flawlessBehaviour } from "../src/tasks/behaviour.ts";
import { heldOutOperations } from "../src/tasks/domains/operations.ts";
import {
  domainNames,
  type DomainTask,
  evaluationSuite,
  families,
  generateTask,
  promptPurpose,
  trainDomains,
} from "../src/tasks/domains/mod.ts";
import { parseExpression } from "../src/tasks/expression.ts";
import { parseGsm8k } from "../src/tasks/formats/gsm8k.ts";
import { formatTasks, parseTasks } from "../src/tasks/jsonl.ts";
import { hashText, Random } from "../src/random.ts";
import {
  checkAnswer,
  MissingReferenceError,
  requireReferences,
  type Split,
  type Task,
  TaskFormatError,
} from "../src/tasks/task.ts";
import { teach } from "../src/tasks/teacher.ts";
import { formatCall, parseCall } from "../src/text/tool_call.ts";
import { resultText } from "../src/tools/tool.ts";
import { calculator } from "../src/tools/calculator.ts";

/** The first n tasks of a family. */
function draw(domain: string, split: Split, n: number, seed = 1): DomainTask[] {
  return Array.from({ length: n }, (_, index) => generateTask(domain, split, { seed, index }));
}

Deno.test("the same key gives the same random numbers, another key others", () => {
  const stream = (key: string | number) => {
    const random = new Random(key);
    return Array.from({ length: 5 }, () => random.next());
  };
  assertEquals(stream(7), stream("7"));
  assertNotEquals(stream(7), stream(8));
  // Fixed for ever: tasks, splits and evaluation prompts depend on these bits.
  assertEquals(hashText("34 plus 8"), 1096438444);
  assertEquals(stream("mentor").slice(0, 2), [2749224098, 3336797355]);
});

Deno.test("random numbers are uniform, weights are kept, shuffles are permutations", () => {
  const random = new Random("uniform");
  const counts = [0, 0, 0, 0, 0];
  const weighted = { a: 0, b: 0, c: 0 };
  for (let i = 0; i < 10_000; i++) {
    const n = random.int(-2, 2);
    counts[n + 2]!++;
    weighted[random.weighted([["a", 3], ["b", 1], ["c", 0]])]++;
  }
  for (const count of counts) assert(Math.abs(count - 2000) < 160, String(counts));
  assert(Math.abs(weighted.a - 7500) < 180 && weighted.c === 0);
  assertEquals(random.shuffle([1, 2, 3, 4, 5]).sort(), [1, 2, 3, 4, 5]);
  assertThrows(() => random.int(2, 1), RangeError);
  assertThrows(() => random.pick([]), RangeError);
  assertThrows(() => random.weighted([["a", 0]]), RangeError);
});

Deno.test("a forked stream does not depend on what its parent drew", () => {
  const parent = new Random(1);
  const before = parent.fork("x").next();
  parent.next();
  assertEquals(parent.fork("x").next(), before);
});

Deno.test("exact answers are compared after NFKC and trimming", () => {
  const task = { answer: "café 12", check: "exact" } as const;
  assert(checkAnswer(task, " cafe\u0301 １２\n"));
  assert(!checkAnswer(task, "Café 12"));
  assert(!checkAnswer(task, null));
});

Deno.test("numeric answers ignore dollars and commas and allow a relative 1e-6", () => {
  const task = { answer: "1234.5", check: "number" } as const;
  for (const right of ["1234.5", "$1,234.50", " 1234.5004 ", "+1.2345e3"]) {
    assert(checkAnswer(task, right), right);
  }
  for (const wrong of ["1234.6", "", "12 apples", "1234.5 1", "NaN", "Infinity", "--1234.5"]) {
    assert(!checkAnswer(task, wrong), wrong);
  }
  assert(checkAnswer({ answer: "-5", check: "number" }, "\u22125"));
  assert(checkAnswer({ answer: "0", check: "number" }, "-0.0"));
});

const { all } = calculator();
const read = (text: string, limit?: number) =>
  parseTasks(text, { source: "my.jsonl", tools: all, limit });

Deno.test("a task file is read with its defaults", () => {
  const text = "\ufeff" + [
    '{"prompt":"2+3?","answer":5}',
    "",
    '{"id":"b","prompt":"say hi","answer":"hi","tools":["add"],"world":{"x":1},"domain":"d",' +
    '"split":"depth","reference":{"calls":[{"name":"add","arguments":{"a":1,"b":2},"result":3}],' +
    '"alternatives":[[]]}}\r',
  ].join("\n");
  const [first, second, ...rest] = read(text);
  assertEquals(rest, []);
  assertEquals(first, {
    id: "1",
    domain: "custom",
    split: "train",
    prompt: "2+3?",
    tools: [...all],
    answer: "5",
    check: "number",
    reference: null,
    origin: { source: "my.jsonl", line: 1 },
  });
  assertEquals(second?.check, "exact");
  assertEquals(second?.tools.map((tool) => tool.name), ["add"]);
  assertEquals(second?.origin?.line, 3);
  assertEquals(second?.reference, {
    calls: [{ name: "add", arguments: { a: 1, b: 2 }, result: 3 }],
    answer: "hi",
    alternatives: [[]],
  });
});

Deno.test("a malformed line is named with file, line and what is wrong", () => {
  const good = '{"id":"a","prompt":"p","answer":"x"}\n';
  const cases: [string, string][] = [
    ['{"prompt":', "my.jsonl:2: not valid JSON: "],
    ["[1]", "my.jsonl:2: expected a JSON object, got a list"],
    ['{"answer":"x"}', 'my.jsonl:2: "prompt" is missing'],
    ['{"prompt":"p"}', 'my.jsonl:2: "answer" is missing'],
    ['{"prompt":1,"answer":"x"}', '"prompt" must be a string, got a number'],
    ['{"prompt":"p","answer":""}', '"answer" is empty'],
    ['{"id":"a","prompt":"p","answer":"x"}', 'id "a" was used on line 1 before'],
    ['{"prompt":"p","answer":"x","tools":["pow"]}', 'tool "pow" is not known; known are add'],
    [
      '{"prompt":"p","answer":"x","tools":"add"}',
      '"tools" must be a list of names or declarations, got a string',
    ],
    [
      '{"prompt":"p","answer":"x","check":"fuzzy"}',
      '"check" must be one of exact, number, last-number, calls',
    ],
    ['{"prompt":"p","answer":"x","split":"test"}', '"split" must be one of train, composition'],
    ['{"prompt":"p","answer":"x","reference":{}}', '"reference.calls" must be a list of calls'],
    [
      '{"prompt":"p","answer":"x","tools":["add"],"reference":{"calls":[{"name":"sub","arguments":{}}]}}',
      'tool "sub" is not known; known are add',
    ],
    [
      '{"prompt":"p","answer":"x","reference":{"calls":[{"name":"add","arguments":{"a":"1","b":2}}]}}',
      '"reference.calls[0].arguments" of add: a: ',
    ],
    ['{"prompt":"p","answer":"x","expected":[]}', '"expected" goes with "check": "calls"'],
    ['{"prompt":"p","check":"calls"}', '"reference.calls" must be a list of calls'],
    [
      '{"prompt":"p","check":"calls","expected":[{"name":"f","arguments":{"a":1}}]}',
      '"expected[0].arguments" must be an object of lists of allowed values',
    ],
    [
      '{"prompt":"p","answer":"x","tools":[{"name":"f","parameters":{"type":"dict"}}]}',
      'Cannot define tool "f": parameters must have type "object"',
    ],
  ];
  for (const [line, message] of cases) {
    const error = assertThrows(() => read(good + line + "\n"), TaskFormatError, message);
    assertEquals([error.source, error.line], ["my.jsonl", 2]);
    assert(error instanceof SyntaxError);
  }
});

Deno.test("a limit stops reading before later lines are looked at", () => {
  const text = '{"prompt":"p","answer":"x"}\nnot JSON';
  assertEquals(read(text, 1).length, 1);
  assertThrows(() => read(text, 0), RangeError, "limit must be a positive integer");
});

Deno.test("what is written as a task file reads back the same", () => {
  const tasks = draw("table", "train", 3);
  const again = parseTasks(formatTasks(tasks), { source: "again", tools: tasks[0]!.tools });
  assertEquals(
    again,
    tasks.map(({ plan: _, ...task }, i) => ({
      ...task,
      tools: [...task.tools],
      origin: { source: "again", line: i + 1 },
    })),
  );
});

Deno.test("a task may declare its tools, and be solved by their calls in any order", () => {
  const look = {
    name: "look",
    description: "Looks up",
    parameters: { type: "object", properties: { a: { type: "string" }, b: { type: "array" } } },
  };
  const line = {
    prompt: "p",
    system: "Be brief.",
    tools: ["add", look],
    check: "calls",
    expected: [
      { name: "look", arguments: { a: ["x", "y"], b: [[1, { c: 2 }], ""] } },
      { name: "look", arguments: { a: ["x"] } },
    ],
  };
  const [task] = read(JSON.stringify(line)) as [Task];
  assertEquals([task.system, task.tools.map(({ name }) => name)], ["Be brief.", ["add", "look"]]);
  assertEquals(
    task.answer,
    callsAnswer([
      { name: "look", arguments: { a: "x", b: [1, { c: 2 }] } },
      { name: "look", arguments: { a: "x" } },
    ]),
  );
  const solves = (...made: Record<string, unknown>[]) =>
    checkAnswer(task, callsAnswer(made.map((args) => ({ name: "look", arguments: args }))));
  assert(checkAnswer(task, task.answer));
  assert(solves({ a: "x" }, { a: "y" }), "whatever order leaves a call for each");
  assert(solves({ a: "y", b: [1, { c: 2 }] }, { a: "x" }));
  assert(!solves({ a: "y" }, { a: "y" }), "one of them has no call");
  assert(!solves({ a: "x" }), "one is missing");
  assert(!solves({ a: "x" }, { a: "x" }, { a: "x" }), "one is too many");
  assert(!solves({ a: "x", b: [1, { c: 3 }] }, { a: "x" }), "a value that is not allowed");
  assert(!solves({ a: "x" }, { a: "y", c: 1 }), "an argument that is not expected");
  assert(!checkAnswer(task, "no list of calls"));
  const [again] = read(formatTasks([task])) as [Task];
  assertEquals({ ...again, tools: [] }, { ...task, tools: [] });
  const { calls } = { calls: [{ name: "add", arguments: { a: 1, b: 2 } }] };
  const [referred] = read(
    JSON.stringify({ prompt: "p", check: "calls", reference: { calls } }),
  ) as [
    Task,
  ];
  assert(checkAnswer(referred, callsAnswer(calls)) && !checkAnswer(referred, "[]"));
});

Deno.test("many calls that are alike are matched without trying every order", () => {
  // Each of 32 that fit has 33 places to try: every order would take longer than the universe has.
  const calls = (last: number) =>
    callsAnswer([...Array<number>(32).fill(1), last].map((a) => ({ name: "f", arguments: { a } })));
  assert(matchesCalls(calls(2), calls(2)));
  assert(!matchesCalls(calls(2), calls(3)));
});

Deno.test("a task without reference is refused by name and line", () => {
  const tasks = read(
    '{"prompt":"p","answer":"x","reference":{"calls":[]}}\n' +
      '{"id":"q","prompt":"p","answer":"x"}',
  );
  requireReferences(tasks.slice(0, 1));
  assertThrows(() => requireReferences(tasks), MissingReferenceError, '"q" (my.jsonl:2)');
});

Deno.test("every domain is deterministic, executable, short, and solved by its reference", () => {
  for (const { domain, split } of families) {
    const longest = split === "depth" ? 150 : 110;
    for (const [index, task] of draw(domain, split, 100).entries()) {
      const where = `${domain}/${split}: ${task.prompt}`;
      assertEquals(
        JSON.stringify(generateTask(domain, split, { seed: 1, index })),
        JSON.stringify(task),
      );
      assert(task.prompt.length <= 40, where);
      assertEquals(task.reference, teach(task, {}, new Random(0)), where);
      assert(checkAnswer(task, task.reference.answer), where);
      assertEquals(task.reference.calls.length, task.plan.length, where);
      const earlier = task.reference.calls.slice(0, -1).map(({ result }) => resultText(result));
      assert(!earlier.includes(task.answer), where);
      assertEquals(task.prompt.split(" ").includes(task.answer), domain === "none", where);
      if (split === "depth") assertEquals(task.plan.length, 3, where);
      for (const { result } of task.reference.calls) {
        if (typeof result !== "number") continue;
        assert(Number.isInteger(result) && result >= 0 && result <= 999, `${where} ${result}`);
      }
      assert(transcriptBytes(task, task.reference) <= longest, where);
    }
  }
});

/** Length in byte-level tokens, control tokens included. */
function transcriptBytes(
  task: DomainTask,
  trace: {
    calls: { name: string; arguments: Record<string, unknown>; result?: unknown }[];
    answer: string;
  },
): number {
  const calls = trace.calls.map((call) => {
    const spec = task.tools.find((tool) => tool.name === call.name)!;
    return 4 + formatCall(spec, call.arguments).length + resultText(call.result).length;
  });
  return calls.reduce((a, b) => a + b, 2 + task.prompt.length + 2 + trace.answer.length);
}

Deno.test("answers of a domain are too many to guess", () => {
  for (const { domain, split } of families) {
    const counts = new Map<string, number>();
    const tasks = draw(domain, split, 2000);
    for (const { answer } of tasks) counts.set(answer, (counts.get(answer) ?? 0) + 1);
    assert(counts.size >= 100, `${domain}/${split} has ${counts.size} answers`);
    assert(Math.max(...counts.values()) / tasks.length < 0.04, `${domain}/${split}`);
  }
});

Deno.test("held-out pairs never occur in training and always in compositions", () => {
  const heldOut = new Set([
    ...heldOutOperations.map((pair) => pair.join(" ")),
    "cost over",
    "to times",
    "of minus",
  ]);
  const pairs = (task: DomainTask) =>
    task.plan.slice(1).map((step, i) => `${task.plan[i]!.word} ${step.word}`);
  for (const { domain, split } of families) {
    if (split === "domain") continue;
    for (const task of draw(domain, split, 300)) {
      const held = pairs(task).filter((pair) => heldOut.has(pair)).length;
      assertEquals(held, split === "composition" ? 1 : 0, task.prompt);
    }
  }
});

Deno.test("what is held out as a domain is not trained on", () => {
  assertEquals(trainDomains, ["arith", "shop", "unit", "table", "none"]);
  assertEquals(domainNames, [...trainDomains, "string", "date"]);
  for (const task of draw("table", "train", 200)) {
    assert(task.reference.calls.every((call) => call.name !== "max"));
  }
  for (const task of draw("table", "domain", 50)) {
    assertEquals(task.reference.calls[0]?.name, "max");
  }
});

Deno.test("no evaluation prompt can be trained on", () => {
  const suite = evaluationSuite(32);
  assertEquals(suite.map(({ domain, split }) => ({ domain, split })), [...families]);
  const prompts = new Set<string>();
  for (const { tasks } of suite) {
    assertEquals(new Set(tasks.map((task) => JSON.stringify(task))).size, 32);
    for (const { prompt } of tasks) {
      assertEquals(promptPurpose(prompt), "eval");
      prompts.add(prompt);
    }
  }
  for (const { domain, split } of families) {
    for (let seed = 0; seed < 4; seed++) {
      for (const { prompt } of draw(domain, split, 300, seed)) assert(!prompts.has(prompt), prompt);
    }
  }
});

Deno.test("an unknown domain or split is refused with those there are", () => {
  const key = { seed: 1, index: 0 };
  assertThrows(() => generateTask("music", "train", key), RangeError, "there are arith, shop");
  assertThrows(() => generateTask("none", "depth", key), RangeError, "only train");
  assertThrows(() => evaluationSuite(0), RangeError, "perSplit");
});

Deno.test("a teacher with a capacity gap skips calls and still answers right", () => {
  for (const { domain, split } of families) {
    for (const [i, task] of draw(domain, split, 50).entries()) {
      const { calls, answer } = teach(task, { mental: 1 }, new Random(i));
      assert(checkAnswer(task, answer), task.prompt);
      assert(calls.every(({ name }) => name !== "add" && name !== "sub"));
      const others = task.plan.filter(({ tool }) => tool !== "add" && tool !== "sub");
      assertEquals(calls.length, others.length);
    }
  }
});

Deno.test("a teacher verifies by inverse calls, varies its style, and errs on demand", () => {
  let wrong = 0;
  for (const [i, task] of draw("arith", "train", 100).entries()) {
    const verified = teach(task, { verify: 1 }, new Random(i));
    assertEquals(verified.calls.length, 2 * task.plan.length);
    for (let c = 0; c < verified.calls.length; c += 2) {
      assertEquals(verified.calls[c + 1]?.result, verified.calls[c]?.arguments.a);
    }
    assert(checkAnswer(task, verified.answer));
    const styled = teach(task, { style: 1 }, new Random(i));
    assert(checkAnswer(task, styled.answer));
    if (!checkAnswer(task, teach(task, { noise: 1 }, new Random(i)).answer)) wrong++;
  }
  assert(wrong >= 95, `${wrong} of 100 noisy references are wrong`);
});

Deno.test("a behaviour without flaws is the gold reference", () => {
  for (const { domain, split } of families) {
    for (const task of draw(domain, split, 30)) {
      const { calls, answer } = behave(task, new Random(0), flawlessBehaviour);
      assertEquals(
        { calls: calls.map(({ text: _, ...call }) => call), answer },
        task.reference,
      );
    }
  }
});

interface Measurement {
  success: number;
  multiStepSuccess: number;
  partial: number;
  calls: number;
}

/** Rates of the flawed behaviour; partial: a right tool was called, the answer is wrong. */
function measure(domain: string, split: Split, n: number): Measurement {
  const sum = { success: 0, multiStepSuccess: 0, partial: 0, calls: 0 };
  let multiStep = 0;
  for (const [i, task] of draw(domain, split, n).entries()) {
    const { calls, answer } = behave(task, new Random(`behaviour/${i}`));
    for (const { name, arguments: args } of calls) {
      const text = formatCall(task.tools.find((tool) => tool.name === name)!, args);
      const parsed = parseCall(text, task.tools);
      assertEquals([parsed.status, parsed.arguments], ["ok", args]);
    }
    const right = checkAnswer(task, answer);
    const tools = new Set(task.plan.map((step) => step.tool));
    if (task.plan.length > 1) multiStep++;
    if (right) sum.success++;
    if (right && task.plan.length > 1) sum.multiStepSuccess++;
    if (!right && calls.some((call) => tools.has(call.name))) sum.partial++;
    sum.calls += calls.length;
  }
  return {
    success: sum.success / n,
    multiStepSuccess: sum.multiStepSuccess / Math.max(1, multiStep),
    partial: sum.partial / n,
    calls: sum.calls / n,
  };
}

Deno.test("the flawed behaviour rarely succeeds and often gets something right", () => {
  const rates = trainDomains.map((domain) => ({ domain, ...measure(domain, "train", 2000) }));
  const text = JSON.stringify(rates, null, 1);
  const mean = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length;
  const overall = mean(rates.map((rate) => rate.success));
  assert(overall >= 0.02 && overall <= 0.15, text);
  const withTools = rates.filter(({ domain }) => domain !== "none");
  for (const rate of withTools) {
    assert(rate.success >= 0.02 && rate.success <= 0.14, text);
    assert(rate.multiStepSuccess >= 0.015 && rate.multiStepSuccess <= 0.12, text);
  }
  const ratio = mean(withTools.map((r) => r.partial)) / mean(withTools.map((r) => r.success));
  assert(ratio >= 5, text);
});

Deno.test("the likeliest choice at every decision is as good as never right", () => {
  const likeliest = {
    direct: 0,
    directSingle: 1,
    tool: 1,
    order: 1,
    column: 1,
    sign: 1,
    carry: 1,
    premature: 1,
    needless: 1,
  };
  let right = 0;
  const tasks = families.flatMap(({ domain, split }) => draw(domain, split, 100));
  for (const task of tasks) {
    if (checkAnswer(task, behave(task, new Random(0), likeliest).answer)) right++;
  }
  // Not quite never: a wrong step may hit the right value, say that of an equal price.
  assert(right / tasks.length < 0.005, `${right} of ${tasks.length}`);
});

Deno.test("expressions keep precedence, parentheses, percents and signs", () => {
  const value = (text: string): number | null => {
    const expression = parseExpression(text);
    const run = (e: NonNullable<typeof expression>): number => {
      if (e.kind === "number") return e.value;
      const [a, b] = [run(e.left), run(e.right)];
      return { add: a + b, sub: a - b, mul: a * b, div: a / b }[e.operator];
    };
    return expression && run(expression);
  };
  const cases: [string, number | null][] = [
    ["100-50-30-15", 5],
    ["2+3*4", 14],
    ["(2+3)*4", 20],
    ["2(3+4)", 14],
    ["$1,000/.5", 2000],
    ["200*20%", 40],
    ["-3 + -(1+1)", -5],
    ["8/2/2", 2],
    ["2 × 3 ÷ 6", 1],
    ["", null],
    ["2+", null],
    ["(2", null],
    ["2^3", null],
    ["x+1", null],
    ["1 2", null],
    ["(".repeat(100_000), null],
    ["-".repeat(100_000) + "1", null],
  ];
  for (const [text, expected] of cases) assertEquals(value(text), expected, text.slice(0, 20));
});

const sample = await Deno.readTextFile(new URL("data/gsm8k_sample.jsonl", import.meta.url));

Deno.test("GSM8K's annotations become executed calls that lead to the answer", () => {
  const { tasks, report } = parseGsm8k(sample, { source: "sample.jsonl" });
  assertEquals(report, {
    total: 20,
    converted: 17,
    skipped: {
      "no calculation": { count: 1, firstLine: 18 },
      "nothing to calculate": { count: 1, firstLine: 19 },
      "unsupported syntax": { count: 1, firstLine: 20 },
    },
  });
  assertEquals(tasks.length, 17);
  requireReferences(tasks);
  assertEquals(tasks[2]?.answer, "5");
  assertEquals(
    tasks[2]?.reference?.calls.map((c) => [c.name, c.arguments.a, c.arguments.b, c.result]),
    [
      ["div", 100, 2, 50],
      ["mul", 15, 2, 30],
      ["sub", 100, 50, 50],
      ["sub", 50, 30, 20],
      ["sub", 20, 15, 5],
    ],
  );
  assertEquals(tasks[0]?.origin, { source: "sample.jsonl", line: 1 });
});

Deno.test("unconvertible problems can be kept without a reference, and a limit counts problems", () => {
  const { tasks } = parseGsm8k(sample, { source: "s", keepUnreferenced: true });
  assertEquals([tasks.length, tasks.filter((task) => task.reference === null).length], [20, 3]);
  assertEquals(parseGsm8k(sample, { source: "s", limit: 5 }).report.total, 5);
});

Deno.test("GSM8K solutions that do not calculate right are skipped with a reason", () => {
  const line = (answer: string) => JSON.stringify({ question: "q", answer });
  const reasons: [string, string | undefined][] = [
    ["<<7/2=3>> #### 3", "result differs"],
    ["<<10/3=3.33>> #### 3.33", undefined],
    ["<<10/3=3.34>> #### 3.34", "result differs"],
    ["<<1000*2=2,000>> #### 2,000", undefined],
    ["<<4/0=0>> #### 0", "calculation fails"],
    ["<<sqrt(4)=2>> #### 2", "unsupported syntax"],
    ["<<4+4>> #### 8", "calculation without result"],
    ["<<4+4=8>> 8", "no final answer"],
  ];
  for (const [answer, reason] of reasons) {
    const { tasks, report } = parseGsm8k(line(answer), { source: "s" });
    assertEquals(Object.keys(report.skipped)[0], reason, answer);
    if (reason === undefined) assertMatch(tasks[0]!.answer, /^[\d.]+$/);
  }
  assertThrows(
    () => parseGsm8k('{"question":"q"}', { source: "s" }),
    TaskFormatError,
    's:1: "question" and "answer" must be strings',
  );
});
