import { assert, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { CheckpointError } from "../src/io/checkpoint.ts";
import {
  ConfigError,
  configJson,
  readConfigFile,
  resolveConfig,
  warmupSteps,
} from "../src/run/config/mod.ts";
import { settings } from "../src/run/config/schema.ts";
import { EventLog, readEvents, type RunEventBody } from "../src/run/events.ts";
import { flagHelp, parseFlags } from "../src/run/config/flags.ts";
import { duration, Progress, type ProgressOutput } from "../src/run/progress.ts";
import { listRuns, newRunId, RunFolder } from "../src/run/store.ts";

const flagsOf = (line: string) => parseFlags(line.split(" ").filter((word) => word !== "")).flags;

async function inFolder(body: (folder: string) => void | Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("the defaults are those that the documentation promises", () => {
  assertEquals(resolveConfig(), {
    method: "grpo",
    from: "assets/base-nano",
    size: "nano",
    tasks: null,
    format: "auto",
    skipInvalid: false,
    limit: null,
    tools: null,
    domains: ["arith", "shop", "unit", "table", "none"],
    reward: "flex",
    steps: 80,
    warmupSft: null,
    seed: 0,
    out: null,
    resume: null,
    rollout: {
      prompts: 16,
      group: 8,
      temperature: 1,
      topK: 0,
      topP: 1,
      maxTokens: null,
      maxCalls: 6,
      slots: 128,
      stepsPerRead: 6,
    },
    optimizer: {
      learningRate: 2.5e-4,
      finalRate: 0.1,
      betas: [0.9, 0.95],
      epsilon: 1e-8,
      weightDecay: 0,
      gradClip: 1,
    },
    grpo: {
      loss: "dapo",
      ratio: "token",
      estimator: "group",
      std: "group",
      stdFloor: 0.1,
      normalise: "sum",
      weighting: "fixed",
      clipLow: 0.2,
      clipHigh: 0.28,
      ratioMax: 0,
      sapoTemperatures: [1, 1.05],
      klCoef: 0,
      klForm: "k3",
      klIn: "loss",
      entropyCoef: 0,
      entropyTarget: null,
      topEntropy: 1,
      truncated: "keep",
      truncatedPenalty: 0,
      oldLogprobs: "sampler",
      epochs: 1,
      miniBatches: 2,
      resampleDead: 0,
    },
    ppo: {
      epochs: 4,
      miniBatches: 1,
      klCoef: 0.05,
      klForm: "k1",
      clip: 0.2,
      valueClip: 0.2,
      valueCoef: 0.1,
      gamma: 1,
      lambda: 0.95,
      targetKl: 0,
      missingEosPenalty: 0,
      whitenRewards: "none",
      critic: "head",
      criticLearningRate: null,
      oldLogprobs: "sampler",
    },
    distill: { teacher: null, beta: 1, temperature: 1, epochs: 1, miniBatches: 1 },
    dpo: { beta: 0.1, labelSmoothing: 0 },
    likelihood: { expert: null, base: null, weight: 1, entropyWeight: 0, presetWeight: 0 },
    sft: { batch: 32, learningRate: 1e-3 },
    pretrain: { steps: 2000, batch: 48, learningRate: 2e-3, behaviour: "flawed" },
    evaluation: { prompts: 32, samples: 4, everySteps: 0 },
    checkpoint: { everySteps: 20 },
    tensorboard: false,
    chat: { format: "auto", system: null },
    lora: { rank: 0, alpha: 16, dropout: 0, targets: ["all-linear"] },
    dtype: "auto",
    tokenBudget: 8192,
    recompute: "none",
    memoryLimit: null,
    tuning: null,
    teacher: { mental: 0 },
  });
});

Deno.test("a flag wins over the file, the file over the preset, the preset over the default", () => {
  const config = resolveConfig({
    preset: { steps: 1, seed: 1, rollout: { group: 2, prompts: 2 }, domains: ["shop"] },
    file: { seed: 2, rollout: { prompts: 3 }, domains: ["unit", "none"] },
    flags: { rollout: { prompts: 4 } },
  });
  assertEquals([config.steps, config.seed, config.domains], [1, 2, ["unit", "none"]]);
  assertEquals([config.rollout.group, config.rollout.prompts], [2, 4]);
  assertEquals(config.rollout.slots, 128);
});

Deno.test("configs share nothing that one of them could change for the other", () => {
  resolveConfig().domains.push("date");
  resolveConfig().optimizer.betas[0] = 0;
  assertEquals(resolveConfig().domains.length, 5);
  assertEquals(resolveConfig().optimizer.betas[0], 0.9);
});

Deno.test("the stored config reproduces itself", () => {
  const config = resolveConfig({ flags: { seed: 7, tasks: "a.jsonl", limit: 3 } });
  const text = configJson(config);
  assertEquals(resolveConfig({ file: JSON.parse(text) }), config);
  const reordered = { limit: 3, tasks: "a.jsonl", seed: 7 };
  assertEquals(configJson(resolveConfig({ file: reordered })), text);
});

Deno.test("a setting that is not allowed is named with its value and what is allowed", () => {
  const cases: [unknown, string][] = [
    [{ steps: "many" }, 'Cannot use steps = "many" (from the config file): allowed is a whole'],
    [{ steps: 1.5 }, "steps = 1.5"],
    [{ steps: -1 }, "allowed is a whole number of at least 0"],
    [{ rollout: { group: 0 } }, "rollout.group = 0 (from the config file): allowed is a whole"],
    [{ rollout: { topP: 2 } }, "allowed is a number from 0.01 to 1"],
    [{ rollout: 3 }, "Cannot use rollout = 3: expected a group of settings"],
    [{ method: "rl" }, 'method = "rl" (from the config file): allowed is one of grpo, ppo'],
    [{ domains: ["arith", "arith"] }, "a list of different names out of arith, shop"],
    [{ domains: ["chess"] }, 'domains = ["chess"]'],
    [{ domains: [] }, "domains = []"],
    [{ optimizer: { betas: [0.9] } }, "allowed is two numbers"],
    [{ optimizer: { learningRate: null } }, "optimizer.learningRate = null"],
    [{ from: "" }, 'from = ""'],
    [{ stesp: 3 }, 'there is no such setting (did you mean "steps"?)'],
    [{ rollout: { gruop: 3 } }, "rollout.gruop (from the config file): there is no such setting"],
    [{ tokenBudget: 64, rollout: { maxTokens: 128 } }, "rollout.maxTokens = 128 has to fit in"],
    [{ rollout: { prompts: 1, group: 2 }, grpo: { miniBatches: 3 } }, "a step has only 2 episodes"],
  ];
  for (const [file, message] of cases) {
    assertThrows(() => resolveConfig({ file }), ConfigError, message);
  }
  assertThrows(() => resolveConfig({ flags: { steps: -1 } }), ConfigError, "(from a flag)");
  assertThrows(() => resolveConfig({ preset: { steps: -1 } }), ConfigError, "(from the preset)");
  assertThrows(() => resolveConfig({ file: [1] }), ConfigError, "expected settings, not [1]");
});

Deno.test("warm-up by imitation is for task files unless told otherwise", () => {
  const steps = (file: unknown) => warmupSteps(resolveConfig({ file }));
  assertEquals(steps({}), 0);
  assertEquals(steps({ tasks: "a.jsonl", steps: 3 }), 3);
  assertEquals(steps({ tasks: "a.jsonl", warmupSft: 5 }), 5);
  assertEquals(steps({ method: "sft", warmupSft: 5 }), 0);
});

Deno.test("a config file is YAML or JSON", async () => {
  await inFolder((folder) => {
    const path = join(folder, "run.yaml");
    const read = (text: string) => {
      Deno.writeTextFileSync(path, text);
      return readConfigFile(path);
    };
    assertEquals(read("steps: 3\nrollout:\n  topK: 5 # few\n"), { steps: 3, rollout: { topK: 5 } });
    assertEquals(read('{"steps": 3}'), { steps: 3 });
    assertEquals(read("# nothing\n"), {});
    assertThrows(() => read("steps: [3"), ConfigError, `Cannot read config file "${path}"`);
    assertThrows(() => read("a: 1\na: 2"), ConfigError, "unique");
    assertThrows(() => read("3"), ConfigError, "expected settings, not 3");
    assertThrows(() => readConfigFile(join(folder, "no")), ConfigError, "Cannot read config file");
  });
});

Deno.test("every setting has a flag, in all its spellings", () => {
  const parsed = flagsOf("--steps 3 --rollout.max-tokens=64 --rollout.topK 5 --warmup-sft 2");
  assertEquals(parsed, { steps: 3, rollout: { maxTokens: 64, topK: 5 }, warmupSft: 2 });
  assertEquals(flagsOf("--rollout-max-tokens 64"), { rollout: { maxTokens: 64 } });
  assertEquals(flagsOf("--lr 1e-3 --slots 4"), {
    optimizer: { learningRate: 1e-3 },
    rollout: { slots: 4 },
  });
  for (const { path, fallback, nullable } of settings) {
    if (fallback === null) assert(nullable, path);
    const { flags } = parseFlags([`--${path}`, String(fallback)]);
    const layer = path === "limit" ? { tasks: "x", limit: 1 } : flags;
    resolveConfig({ flags: layer });
  }
});

Deno.test("flags have the types of their settings", () => {
  assertEquals(flagsOf("--domains arith,shop --optimizer.betas 0.8,0.9 --seed 12 --from 7"), {
    domains: ["arith", "shop"],
    optimizer: { betas: [0.8, 0.9] },
    seed: 12,
    from: "7",
  });
  assertEquals(flagsOf("--tasks null --limit null"), { tasks: null, limit: null });
  assertEquals(parseFlags(["--out", "my runs/1"]).flags, { out: "my runs/1" });
});

Deno.test("switches, positional arguments and the config file are told apart", () => {
  const parsed = parseFlags(["model", "--json", "--steps", "3", "7", "--", "--seed"]);
  assertEquals(parsed.positional, ["model", "7", "--seed"]);
  assertEquals([parsed.json, parsed.quiet, parsed.help, parsed.config], [true, false, false, null]);
  assertEquals(parseFlags(["-h", "-q", "--config", "a.yaml"]), {
    flags: {},
    positional: [],
    config: "a.yaml",
    json: false,
    quiet: true,
    help: true,
  });
});

Deno.test("a flag that cannot be used is named", () => {
  const cases: [string, string][] = [
    ["--stpes 3", 'Cannot use flag "--stpes": there is no such flag (did you mean "--steps"?)'],
    ["--rollout.gruop=3", 'did you mean "--rollout-group"?'],
    ["--frobnicate", 'Cannot use flag "--frobnicate": there is no such flag. --help lists'],
    ["-x", 'Cannot use flag "-x"'],
    ["--no-json", 'Cannot use flag "--no-json"'],
    ["--steps many", 'Cannot use steps = "many" (from --steps): allowed is a whole number'],
    ["--steps 1.5", "steps = 1.5"],
    ["--steps 0x10", 'steps = "0x10"'],
    ["--steps", "Cannot use flag --steps without a value: allowed is a whole number"],
    ["--steps=", "Cannot use flag --steps without a value"],
    ["--steps --seed 3", "Cannot use flag --steps without a value"],
    ["--seed -1", "seed = -1 (from --seed): allowed is a whole number of at least 0"],
    ["--seed=-1", "seed = -1"],
    ["--reward best", 'reward = "best" (from --reward): allowed is one of flex, sparse'],
    ["--lr fast", 'optimizer.learningRate = "fast"'],
    ["--domains arith,chess", 'domains = ["arith","chess"]'],
    ["--optimizer.betas 0.9", "allowed is two numbers"],
    ["--config", "Cannot use flag --config without a path"],
  ];
  for (const [line, message] of cases) {
    assertThrows(() => flagsOf(line), ConfigError, message);
  }
});

Deno.test("help lists every setting with its default", () => {
  const help = flagHelp();
  const lines = help.trimEnd().split("\n");
  assertEquals(lines.length, settings.length + 4);
  assert(lines.some((line) => /--steps +Steps of the method \(default 80\)/.test(line)), help);
  assert(help.includes("--optimizer.learning-rate, --lr"));
  assert(help.includes("Reward of an episode: flex, sparse"));
  assert(settings.every(({ description }) => description !== ""));
});

/** An output that keeps what is written. */
function paper(isTerminal: boolean, columns = 100, color = false) {
  const written: string[] = [];
  const output: ProgressOutput = {
    isTerminal,
    color,
    columns: () => columns,
    write: (text) => void written.push(text),
  };
  return { written, output };
}

Deno.test("on a terminal progress is one line that is rewritten", () => {
  let now = 0;
  const { written, output } = paper(true);
  const progress = new Progress({ label: "grpo", total: 10, output, now: () => now });
  for (let step = 1; step <= 5; step++) {
    now += 2000;
    progress.update(step, { reward: 0.51234, dead: 0 });
  }
  assertEquals(
    written.at(-1),
    "\rgrpo ██████████░░░░░░░░░░   50%  5/10  2.0 s/step  ETA 10s  reward 0.512  dead 0\x1b[K",
  );
  progress.note("saved");
  assertEquals(written.at(-2), "\r\x1b[Ksaved\n");
  const drawn = written.length;
  progress.update(6);
  assertEquals(written.length, drawn, "drawn again within a moment");
  progress.finish();
  assertEquals(written.at(-1), "\n");
  assert(written.at(-2)!.includes("6/10"));
});

Deno.test("a progress line never wraps, and has colours only where wanted", () => {
  const many = { reward: 0.5, accuracy: 0.25, entropy: 1.25 };
  for (const columns of [30, 45, 60, 75, 90]) {
    const { written, output } = paper(true, columns, true);
    new Progress({ label: "sft", total: 4, output }).update(1, many);
    // deno-lint-ignore no-control-regex
    const visible = written[0]!.replace(/\x1b\[[0-9]*[A-Za-z]|\r/g, "");
    assert(visible.length < columns, `${columns}: ${visible}`);
    assert(written[0]!.includes("\x1b[32m"));
  }
  const plain = paper(true);
  new Progress({ label: "sft", total: 4, output: plain.output }).update(1, many);
  assert(!plain.written[0]!.includes("\x1b[32m"));
});

Deno.test("without a terminal progress is a plain line now and then", () => {
  let now = 0;
  const { written, output } = paper(false);
  const progress = new Progress({ label: "grpo", total: 30, output, now: () => now });
  for (let step = 1; step <= 30; step++) {
    now += 1000;
    progress.update(step, { pass: "40%" });
  }
  progress.finish();
  assertEquals(written, [
    "grpo 3%  1/30  1 steps/s  ETA 29s  pass 40%\n",
    "grpo 36%  11/30  1 steps/s  ETA 19s  pass 40%\n",
    "grpo 70%  21/30  1 steps/s  ETA 9s  pass 40%\n",
    "grpo 100%  30/30  1 steps/s  pass 40%\n",
  ]);
});

Deno.test("quiet progress writes nothing", () => {
  const { written, output } = paper(true);
  const progress = new Progress({ label: "grpo", total: 2, quiet: true, output });
  progress.update(1);
  progress.note("x");
  progress.finish();
  assertEquals(written, []);
});

Deno.test("durations are short", () => {
  assertEquals([0, 9.4, 75, 3599.6, 7500].map(duration), ["0s", "9s", "1m15s", "1h00m", "2h05m"]);
});

function step(number: number): RunEventBody {
  return { type: "step", step: number, method: "grpo", metrics: { loss: 1 / number } };
}

const start: RunEventBody = {
  type: "run-start",
  method: "grpo",
  seed: 0,
  steps: 4,
  adapter: "test",
};

Deno.test("events are stamped, kept and heard", async () => {
  await inFolder((folder) => {
    const path = join(folder, "events.jsonl");
    const heard: string[] = [];
    {
      using log = new EventLog(path, () => new Date(0));
      const stop = log.listen((event) => heard.push(event.type));
      log.emit(start);
      log.emit(step(1));
      stop();
      log.emit(step(2));
      log.sync();
    }
    assertEquals(heard, ["run-start", "step"]);
    assertEquals(
      readEvents(path),
      [start, step(1), step(2)].map((body) => ({ time: "1970-01-01T00:00:00.000Z", ...body })),
    );
    using nowhere = new EventLog(null);
    assertEquals(nowhere.emit(step(1)).type, "step");
    nowhere.rewind(0);
  });
});

Deno.test("the events of a resumed run are those of one that was never interrupted", async () => {
  await inFolder((folder) => {
    const clock = () => new Date(0);
    const end: RunEventBody = { type: "run-end", step: 4, status: "done" };
    const saved = (at: number, reason: "schedule" | "stop" | "end"): RunEventBody => ({
      type: "checkpoint",
      step: at,
      reason,
    });
    const whole = [start, step(1), step(2), saved(2, "schedule"), step(3), step(4), end];
    const path = join(folder, "whole.jsonl");
    {
      using log = new EventLog(path, clock);
      whole.forEach((event) => log.emit(event));
    }
    const resumed = join(folder, "resumed.jsonl");
    for (const [at, stopped] of [[3, true], [2, false]] as const) {
      Deno.writeTextFileSync(resumed, "");
      {
        using log = new EventLog(resumed, clock);
        whole.slice(0, 5).forEach((event) => log.emit(event));
        if (stopped) {
          log.emit(saved(3, "stop"));
          log.emit({ type: "run-end", step: 3, status: "stopped" });
        } else log.emit({ type: "eval", step: 3, phase: "after", domains: [] });
      }
      using log = new EventLog(resumed, clock);
      log.rewind(at);
      whole.slice(at === 3 ? 5 : 4).forEach((event) => log.emit(event));
      assertEquals(Deno.readTextFileSync(resumed), Deno.readTextFileSync(path));
    }
  });
});

Deno.test("a run has a folder of its own, which opens again", async () => {
  await inFolder((folder) => {
    const root = join(folder, "runs");
    const config = resolveConfig({ flags: { seed: 3 } });
    const run = RunFolder.create(config, root);
    assert(/^\d{4}-\d\d-\d\d-\d{4}-[a-z2-9]{4}$/.test(run.id), run.id);
    assert(RunFolder.create(config, root).path !== run.path);
    assertEquals(RunFolder.open(run.path).config, config);
    assertEquals(Deno.readTextFileSync(join(run.path, "config.json")), configJson(config));
    assertEquals(run.checkpoints(), []);
    for (const at of [20, 3, 100]) Deno.mkdirSync(run.checkpoint(at));
    Deno.mkdirSync(join(run.path, ".checkpoint-200.saving-x"));
    assertEquals(run.checkpoints(), [3, 20, 100]);
    assertThrows(() => RunFolder.open(root), ConfigError, "config.json");
  });
});

Deno.test("a run is not started over another one or over other files", async () => {
  await inFolder((folder) => {
    const out = join(folder, "deep", "mine");
    const config = resolveConfig({ flags: { out } });
    const run = RunFolder.create(config);
    assertEquals([run.path, run.id], [out, "mine"]);
    assertThrows(() => RunFolder.create(config), CheckpointError, "--resume");
    const file = join(folder, "file");
    Deno.writeTextFileSync(file, "");
    for (const place of [file, folder]) {
      const blocked = resolveConfig({ flags: { out: place } });
      assertThrows(() => RunFolder.create(blocked), CheckpointError, place);
    }
  });
});

Deno.test("run names sort by time", () => {
  const early = newRunId(new Date("2026-11-22T23:17:00Z"));
  assertEquals(early.slice(0, 16), "2026-11-22-2317-");
  assert(early < newRunId(new Date("2026-12-01T00:00:00Z")));
});

Deno.test("runs are listed with their state", async () => {
  await inFolder((folder) => {
    assertEquals(listRuns(join(folder, "none")), []);
    const make = (name: string, events: RunEventBody[]) => {
      const run = RunFolder.create(resolveConfig({ flags: { out: join(folder, name) } }));
      using log = new EventLog(run.events);
      events.forEach((event) => log.emit(event));
    };
    make("done", [start, step(1), { type: "run-end", step: 4, status: "done" }]);
    make("killed", [start, step(1), step(2)]);
    make("fresh", []);
    make("broken", []);
    Deno.writeTextFileSync(join(folder, "broken", "config.json"), "{");
    Deno.mkdirSync(join(folder, "no run"));
    const states = listRuns(folder).map(({ id, status, step }) => `${id} ${status} ${step}`);
    assertEquals(states.sort(), [
      "broken damaged 0",
      "done finished 4",
      "fresh stopped 0",
      "killed interrupted 2",
    ]);
  });
});
