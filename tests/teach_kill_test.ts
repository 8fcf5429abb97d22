// What a teacher's journal guarantees, held against a process that is killed for real: an answer that
// is in the journal is never asked for again, and what is lost is what was under way.

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { teach } from "../mod.ts";
import { hashText, Random } from "../src/random.ts";
import { type Asked, FakeEndpoint, promptOf, sums } from "./fake_endpoint.ts";

const cli = fromFileUrl(new URL("../cli.ts", import.meta.url));
const folder = Deno.makeTempDirSync();
Deno.test.afterAll(() => Deno.removeSync(folder, { recursive: true }));

const TASKS = 20;
const SAMPLES = 2;
const TURNS = 3;
const SEED = 7;
const CONCURRENCY = 4;
const KILLS = 4;

/** Sample by task and the seed that the process sends for it. */
const sampleOf = new Map(
  Array.from({ length: TASKS * SAMPLES }, (_, i) => {
    const [task, sample] = [i % TASKS, Math.floor(i / TASKS)];
    return [`${task}:${hashText(`${SEED}/sum-${task}/${sample}`) >>> 1}`, sample];
  }),
);

/** A request by what it asks: `sum-3/1/2` is the third turn of the second trajectory of a task. */
function nameOf(asked: Asked): string {
  const task = Number(/\d+/.exec(promptOf(asked))![0]) - 2;
  const sample = sampleOf.get(`${task}:${asked.body.seed}`);
  const turn = asked.body.messages.filter(({ role }) => role === "assistant").length;
  return `sum-${task}/${sample}/${turn}`;
}

/** Names of the whole lines of a type in a journal. */
function journalled(path: string, type: string): string[] {
  let text = "";
  try {
    text = Deno.readTextFileSync(path);
  } catch {
    // Killed before there was one.
  }
  return text.split("\n").slice(0, -1).map((line) => JSON.parse(line))
    .filter((line) => line.type === type)
    .map(({ task, sample, turn }) => `${task}/${sample}${turn === undefined ? "" : `/${turn}`}`);
}

Deno.test("killed at any moment, a teacher asks for nothing again that it has the answer to", async () => {
  await using endpoint = new FakeEndpoint();
  // Long enough that some requests are under way at any moment, and different from each other.
  endpoint.delay = (asked) => 20 + hashText(nameOf(asked)) % 60;
  const tasks = join(folder, "tasks.jsonl");
  Deno.writeTextFileSync(tasks, sums(TASKS));
  const out = join(folder, "killed.jsonl");
  const journal = join(folder, "killed.journal.jsonl");
  const start = () =>
    new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-prompt", cli, "teach", "--tasks", tasks, "--out", out, "--json"],
        ...["--endpoint", endpoint.url, "--model", "fake", "--seed", String(SEED)],
        ...["--samples", String(SAMPLES), "--concurrency", String(CONCURRENCY)],
      ],
      cwd: folder,
      stdout: "piped",
      stderr: "piped",
    }).spawn();

  const random = new Random("kills");
  /** Requests by name whose answer was in the journal when a process was dead. */
  const had = new Map<string, number>();
  const times = (name: string) => endpoint.asked.filter((asked) => nameOf(asked) === name).length;
  let lost = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const before = endpoint.asked.length;
    const child = start();
    // Somewhere after its first answers, as all but four of its requests are answered, and before the
    // end.
    const enough = before + random.int(CONCURRENCY + 2, CONCURRENCY + 10);
    await until(() => endpoint.asked.length >= enough, child);
    await pause(random.int(0, 40));
    child.kill("SIGKILL");
    await child.output();
    // Requests on their way when it died may still arrive.
    await pause(50);

    const answers = journalled(journal, "answer");
    assertEquals(new Set(answers).size, answers.length);
    for (const name of answers) had.set(name, had.get(name) ?? times(name));
    // Of those that were sent and not answered, no more can have been under way than are allowed.
    const sent = journalled(journal, "sent");
    assert(endpoint.asked.length <= sent.length);
    const underWay = sent.length - answers.length - lost;
    assert(underWay <= CONCURRENCY, `${underWay} requests were under way`);
    lost += underWay;
    // As a write that was cut off in the middle leaves it.
    if (kill === 1) Deno.writeTextFileSync(journal, '{"type":"answer","ta', { append: true });
  }
  const { code, stdout, stderr } = await start().output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const result = JSON.parse(new TextDecoder().decode(stdout));

  // The guarantee: whatever had an answer in the journal was never asked for again ...
  for (const [name, count] of had) assertEquals(times(name), count, name);
  assert(had.size >= 2 * KILLS, `${had.size} answers were kept over a kill`);
  // ... and everything else that was asked twice was under way at a kill.
  const whole = TASKS * SAMPLES * TURNS;
  assertEquals(result.lost, lost);
  assertEquals(journalled(journal, "answer").length, whole);
  assert(endpoint.asked.length <= whole + lost);
  assertEquals(new Set(endpoint.asked.map(nameOf)).size, whole);
  assert(lost > 0, "no request was under way at any kill");
  assert(endpoint.most <= 2 * CONCURRENCY); // those of a dead process and of the next

  // Every trajectory is there, once, and what comes out is what comes out undisturbed.
  const ended = journalled(journal, "trajectory");
  assertEquals([ended.length, new Set(ended).size], [TASKS * SAMPLES, TASKS * SAMPLES]);
  assertEquals([result.status, result.ended], ["done", TASKS * SAMPLES]);
  const undisturbed = await teach(
    { tasks, from: "fake", seed: SEED, out: join(folder, "undisturbed.jsonl") },
    { endpoint: endpoint.url, samples: SAMPLES, concurrency: CONCURRENCY },
  );
  assertEquals(Deno.readTextFileSync(out), Deno.readTextFileSync(undisturbed.out));
  assertEquals([result.accepted, result.rejected], [undisturbed.accepted, undisturbed.rejected]);
});

Deno.test("Ctrl-C waits for the answers under way, says how to go on, and never shows the key", async () => {
  await using endpoint = new FakeEndpoint((asked) => `${asked.authorization} Answer: 1`);
  endpoint.delay = () => 100;
  const key = "sk-kill-0123456789abcdef";
  const tasks = join(folder, "interrupted.jsonl");
  Deno.writeTextFileSync(tasks, sums(30));
  const out = join(folder, "partial.jsonl");
  const run = (address: string) =>
    new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-prompt", cli, "teach", "--tasks", tasks, "--out", out],
        ...["--endpoint", address, "--model", "fake"],
      ],
      cwd: folder,
      env: { OPENAI_API_KEY: key, MENTOR_DEBUG: "1", NO_COLOR: "1" },
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  const child = run(endpoint.url);
  await until(() => endpoint.asked.length >= 6, child);
  child.kill("SIGINT");
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assertEquals(code, 0);
  assert(text(stderr).includes("Waiting for the answers under way"));
  assert(text(stdout).includes("The same command goes on from there"), text(stdout));
  const journal = join(folder, "partial.journal.jsonl");
  assertEquals(journalled(journal, "answer").length, endpoint.asked.length);

  endpoint.hook = ({ authorization }) => new Response(`no: ${authorization}`, { status: 401 });
  const refused = await run(endpoint.url).output();
  assertEquals(refused.code, 1);
  assert(text(refused.stderr).includes("answered 401 (no: Bearer [key])"), text(refused.stderr));
  const written = [stdout, stderr, refused.stdout, refused.stderr].map(text)
    .concat(Deno.readTextFileSync(journal), Deno.readTextFileSync(out)).join();
  assert(endpoint.asked.every(({ authorization }) => authorization === `Bearer ${key}`));
  assertEquals(written.includes(key), false);
});

/** Waits for something that a process is to bring about. */
async function until(happened: () => boolean, child: Deno.ChildProcess): Promise<void> {
  let ended = false;
  child.status.then(() => ended = true);
  while (!happened()) {
    assert(!ended, "the process ended before that");
    await pause(2);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
