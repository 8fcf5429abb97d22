// `./mentor serve` and `./mentor runs --reindex` at a terminal.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { isHeld } from "../src/run/control.ts";
import { listRuns } from "../src/run/store.ts";
import { readTokens } from "../src/serve/tokens.ts";
import { settings, studentFolder } from "./runs.ts";
import { begun, ended, freshRuns, makeRun, root, ServerProcess, until } from "./servers.ts";

async function mentor(...args: string[]) {
  const cli = fromFileUrl(new URL("../cli.ts", import.meta.url));
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", cli, ...args],
    cwd: root,
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

Deno.test("a token is shown once, and its line lets it in until it expires", async () => {
  const { code, stdout } = await mentor(
    "serve",
    "token",
    "laptop",
    "--scope",
    "control",
    "--days",
    "2",
  );
  assertEquals(code, 0);
  const [token] = /mentor_[\w-]{43}/.exec(stdout)!;
  const [line] = /^ *laptop control .*$/m.exec(stdout)!;
  assert(!line.includes(token));
  const path = join(root, "tokens");
  await Deno.writeTextFile(path, `${line}\n`);
  const days = (readTokens(path)[0]!.expires! - Date.now()) / 86_400_000;
  assert(days >= 2 && days <= 3, String(days));
});

Deno.test("a server that cannot be started as asked exits with 2 and says why", async () => {
  for (
    const [args, why] of [
      [["--host", "0.0.0.0"], "without tokens"],
      [["--port", "http"], "--port http"],
      [["--token-file", "none"], "none"],
      [["--at-exit", "wait"], "keep or stop"],
      [["--cors", "https://plots.example/"], "--cors https://plots.example/"],
      [["--cors", "*"], "--cors *"],
      [["tokens"], "token NAME"],
      [["token", "laptop", "--scope", "all"], "read or control"],
    ] as const
  ) {
    const { code, stderr } = await mentor("serve", ...args);
    assertEquals(code, 2, stderr);
    assertStringIncludes(stderr, why);
  }
});

Deno.test("a folder of runs that cannot be one is told before the server listens", async () => {
  const file = join(root, "file");
  await Deno.writeTextFile(file, "");
  const { code, stdout, stderr } = await mentor("serve", "--port", "0", "--runs", file);
  assertEquals([code, stdout], [1, ""]);
  assertStringIncludes(stderr, `Cannot write "${join(file, "index.sqlite")}"`);
});

Deno.test("a model that is not there is told before the server listens", async () => {
  const { code, stdout, stderr } = await mentor("serve", "--models", "a=no/such/model");
  assertEquals([code, stdout], [1, ""]);
  assertStringIncludes(stderr, 'Cannot find the model "no/such/model"');
});

Deno.test("the index is made again on request", async () => {
  const runs = freshRuns();
  makeRun(runs, [begun, ended(9)]);
  await Deno.writeTextFile(join(runs, "index.sqlite"), "");
  const { code, stdout } = await mentor("runs", runs, "--reindex");
  assertEquals(code, 0);
  assertStringIncludes(stdout, "finished");
  assert((await Deno.stat(join(runs, "index.sqlite"))).size > 0);
});

Deno.test("a server that ends leaves its runs alone, or stops them first", async () => {
  const runs = freshRuns();
  const allow = ["--allow", await studentFolder()];
  const { out: _, ...config } = await settings({ steps: 2000, evaluation: { prompts: 0 } });
  let path: string;
  {
    await using server = await ServerProcess.start(runs, ...allow);
    path = join(runs, (await server.ask("POST", "/runs", config)).body.id);
    await until("a process", () => isHeld(path));
    await server.kill("SIGTERM");
  }
  assert(isHeld(path));
  {
    await using server = await ServerProcess.start(runs, ...allow, "--at-exit", "stop");
    await server.kill("SIGTERM");
  }
  assertEquals(isHeld(path), false);
  assertEquals(listRuns(runs).map(({ status }) => status), ["stopped"]);
});
