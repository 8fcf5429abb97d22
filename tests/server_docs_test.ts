// The lines of docs/server.md do what it says.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { train } from "../mod.ts";
import { serveFlags } from "../src/serve/flags.ts";
import { runStates } from "../src/run/state.ts";
import { traces } from "./runs.ts";
import { freshRuns, root, ServerProcess } from "./servers.ts";

const text = Deno.readTextFileSync(new URL("../docs/server.md", import.meta.url));

/** The shell lines of the part below a heading. */
function linesUnder(heading: string): string {
  const part = text.split(/^## /m).find((part) => part.startsWith(heading))!;
  return [...part.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, lines]) => lines).join("");
}

Deno.test("a run is started, watched, paused, resumed, stopped and deleted by the lines of the documentation", async () => {
  const runs = freshRuns();
  await using server = await ServerProcess.start(runs);
  const sh = async (lines: string) => {
    const { success, stdout, stderr } = await new Deno.Command("sh", {
      args: ["-euc", lines.replaceAll("localhost:8000", server.url)],
      cwd: root,
      env: { no_proxy: "127.0.0.1" },
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout);
  };
  const lines = linesUnder("A run by curl");
  for (const action of ["pause", "resume", "stop", "events", "metrics"]) {
    assert(lines.includes(`/${action}`), action);
  }
  const output = await sh(lines);
  assert(output.includes('"type":"run-end"'), output);
  assert(!output.includes('"status":4'), output);
  const { body } = await server.ask("GET", "/runs");
  assertEquals(body.runs.map(({ state }: { state: string }) => state), ["finished"]);

  const config = JSON.parse(/-d '([^']*)'/.exec(lines)![1]!);
  const whole = await train(config, { runs: freshRuns() });
  const made = await traces(join(runs, body.runs[0].id));
  assertEquals(made, await traces(whole.run));
  assertEquals(await Deno.readFile(join(root, "model.safetensors")), made.model);

  assertEquals(await sh(`run=${body.runs[0].id}\n${linesUnder("Deleting a run")}`), "");
  assertEquals((await server.ask("GET", "/runs")).body.runs, []);
  assert(![...Deno.readDirSync(runs)].some(({ isDirectory }) => isDirectory));
});

Deno.test("a tool is called by the lines of the documentation, with the answer that stands there", async () => {
  await using server = await ServerProcess.start(freshRuns());
  const { success, stdout } = await new Deno.Command("sh", {
    args: ["-euc", linesUnder("Tools").replaceAll("localhost:8000", server.url)],
    env: { no_proxy: "127.0.0.1" },
  }).output();
  assert(success);
  const answer = /The answer is `([^`]*)`/.exec(text)![1]!;
  assert(new TextDecoder().decode(stdout).endsWith(answer));
});

Deno.test("every state and every flag of the server is documented", () => {
  for (const state of runStates) assert(text.includes(`| \`${state}\` `), state);
  for (const flag of Object.keys(serveFlags)) {
    // Where it listens says itself.
    if (flag !== "port") assert(text.includes(`--${flag}`), flag);
  }
});
