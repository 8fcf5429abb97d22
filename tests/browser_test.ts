// The dashboard in a browser, as people use it. MENTOR_SCREENSHOTS names a folder for pictures.

import type { Page } from "playwright-core";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import "../mod.ts";
import { buildApp } from "../src/serve/app.ts";
import { openApp } from "../src/serve/serve.ts";
import { newToken, readTokens } from "../src/serve/tokens.ts";
import { chromiumPath, faultsOf, type Look, openBrowser, openPage } from "./browser.ts";
import { begun, ended, freshRuns, makeRun, root, until } from "./servers.ts";
import { offered } from "./served_models.ts";

const ignore = chromiumPath === null;
const options = { ignore, sanitizeResources: false, sanitizeOps: false };
const desk: Look = { width: 1280, theme: "light" };

/** The server, with real runs and a scripted model. */
const served = ignore ? null : (() => {
  const runs = freshRuns();
  const { service } = openApp({ runs });
  const { engine } = offered();
  const options = { tokens: null, origins: [], rate: 2000, onRequest: () => {} };
  const http = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    buildApp(service, engine, options).fetch,
  );
  return { runs, service, engine, http, url: `http://127.0.0.1:${http.addr.port}` };
})();
const browser = ignore ? null : await openBrowser();
Deno.test.afterAll(async () => {
  await browser?.close();
  if (!served) return;
  await Promise.all([served.service.close({ stopRuns: true }), served.http.shutdown()]);
  await served.engine[Symbol.asyncDispose]();
});

/**
 * Opens a page of the server, hands it over, and sees that the console stayed silent.
 *
 * @param refused status of requests that are meant to be refused, which the browser tells of as well
 */
async function at(
  path: string,
  use: (page: Page) => Promise<void>,
  { look = desk, refused = NaN }: { look?: Look; refused?: number } = {},
): Promise<void> {
  const { page, complaints } = await openPage(browser!, look);
  try {
    await page.goto(served!.url + path);
    await use(page);
    assertEquals(complaints.filter((text) => !text.includes(`status of ${refused}`)), [], path);
  } finally {
    await page.close();
  }
}

/** The run that the form has started. */
let run = "";

Deno.test("a run is started from the form, and its curves move", options, async () => {
  await at("/", async (page) => {
    await page.getByRole("link", { name: "Start a run", exact: true }).click();
    await page.getByLabel("steps", { exact: true }).fill("-1");
    await page.getByRole("button", { name: "Start the run" }).click();
    const steps = page.locator('[id="set-steps"]');
    await page.locator('[id="set-steps-wrong"]:not([hidden])').waitFor();
    assertEquals(await steps.getAttribute("aria-invalid"), "true");
    await steps.fill("12");
    await page.locator('[id="set-rollout.prompts"]').fill("2");
    await page.locator('[id="set-rollout.group"]').fill("4");
    await page.getByLabel("Find a setting").fill("evaluation.prompts");
    await page.locator('[id="set-evaluation.prompts"]').fill("0");
    await page.getByRole("button", { name: "Start the run" }).click();
    await page.waitForURL(/\/ui\/runs\/[^/]+$/);
    run = decodeURIComponent(page.url().split("/").at(-1)!);
    // Drawn, and drawn anew: the step of the last point, as the cursor reads it out.
    const lastStep = async () => {
      const chart = page.locator("[data-chart]").first();
      if (await chart.locator("canvas").count() === 0) return 0;
      await chart.focus();
      await page.keyboard.press("End");
      const said = await chart.locator("xpath=ancestor::figure").locator("output").textContent();
      return Number(/step (\d+)/.exec(said ?? "")?.[1] ?? 0);
    };
    await until("a curve", async () => await lastStep() > 0);
    const first = await lastStep();
    await until("the curve moves", async () => await lastStep() > first);
    await page.getByText("finished", { exact: true }).first().waitFor({ timeout: 120_000 });
    await until("the last step", async () => await lastStep() === 12);
  }, { refused: 400 });
});

Deno.test("a run is paused, goes on and is stopped by its buttons", options, async () => {
  const response = await fetch(`${served!.url}/runs`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      steps: 5000,
      rollout: { prompts: 2, group: 4 },
      evaluation: { prompts: 0 },
    }),
  });
  const { id } = await response.json();
  await at(`/ui/runs/${id}`, async (page) => {
    const state = (name: string) =>
      page.locator(".state", { hasText: new RegExp(`^${name}$`) }).waitFor({ timeout: 60_000 });
    await state("running");
    await page.getByRole("button", { name: "Pause" }).click();
    await state("paused");
    await page.getByRole("button", { name: "Resume" }).click();
    await state("running");
    await page.getByRole("button", { name: "Stop" }).click();
    await state("stopped");
  });
});

Deno.test("a run is deleted once that was asked twice", options, async () => {
  const { id } = makeRun(served!.runs, [begun, ended(9)]);
  served!.service.supervisor.tick();
  await at(`/ui/runs/${id}`, async (page) => {
    const answers = [false, true];
    page.on("dialog", (dialog) => answers.shift() ? dialog.accept() : dialog.dismiss());
    await page.getByRole("button", { name: "Delete" }).click();
    assertEquals((await fetch(`${served!.url}/runs/${id}`)).status, 200);
    await page.getByRole("button", { name: "Delete" }).click();
    await page.waitForURL(`${served!.url}/`);
    assertEquals((await fetch(`${served!.url}/runs/${id}`)).status, 404);
  });
});

Deno.test("an episode is found and read token by token", options, async () => {
  await at(`/ui/runs/${run}`, async (page) => {
    await page.getByRole("link", { name: "Episodes" }).click();
    await page.waitForURL(/\/episodes/);
    await page.locator("table a").first().click();
    await page.waitForURL(/\/episodes\/\d+/);
    const tokens = page.locator("[data-tokens]");
    await tokens.focus();
    await page.keyboard.press("End");
    assertMatch(
      await page.locator("[data-tokens] + output").textContent() ?? "",
      /^Token (\d+) of \1, .*log-probability .* nats, advantage/,
    );
    await page.getByLabel("advantage").first().check();
    assert(await page.locator(".scale.by-advantage").first().isVisible());
  });
});

Deno.test(
  "the playground shows an answer as it comes, and runs the tools that it calls",
  options,
  async () => {
    await at("/ui/playground", async (page) => {
      await page.getByLabel("Model", { exact: true }).selectOption("scripted");
      await page.getByLabel("Message", { exact: true }).fill("Say hello");
      await page.keyboard.press("Control+Enter");
      await page.getByText("Hello, Zürich 😀!").first().waitFor();
      // One is called by the server, the result of the other one is the user's to give.
      await page.getByLabel("Your own, as JSON").fill('{"name": "multiply"}');
      await page.getByLabel("Message", { exact: true }).fill("Call both");
      await page.getByRole("button", { name: "Send" }).click();
      await page.getByLabel("What multiply returns").fill("6");
      await page.getByRole("button", { name: "Give it to the model" }).click();
      await page.getByText("42 and 6.").first().waitFor();
      const said = await page.locator("#messages").textContent() ?? "";
      assertStringIncludes(said, "add(a: 34, b: 8)");
      assertStringIncludes(said, "Result of multiply6");
      await page.getByRole("button", { name: "Clear" }).click();
      await page.getByLabel("Message", { exact: true }).fill("Talk for ever");
      await page.getByRole("button", { name: "Send" }).click();
      await page.getByRole("button", { name: "Stop", exact: true }).click();
      await page.getByText("stopped").first().waitFor();
      await until("nothing is generated", () => served!.engine.state.admitted === 0, 5);
    });
  },
);

Deno.test(
  "who signs in has the rights of the token, until the page is told to forget it",
  options,
  async () => {
    const reader = newToken("plots", "read", null);
    const owner = newToken("laptop", "control", null);
    const file = join(root, "browser-tokens");
    Deno.writeTextFileSync(file, `${reader.line}\n${owner.line}\n`);
    const { app, service } = openApp({ runs: served!.runs, tokens: readTokens(file) });
    const http = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, app.fetch);
    const url = `http://127.0.0.1:${http.addr.port}`;
    const { page, complaints } = await openPage(browser!, desk);
    try {
      await page.goto(`${url}/ui/runs/${run}`);
      await page.getByLabel("Token").fill("mentor_wrong");
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByText("This token is not known").waitFor();
      await page.getByLabel("Token").fill(reader.token);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.waitForURL(/\/ui\/runs\//);
      await page.goto(`${url}/ui/start`);
      assert(await page.getByRole("button", { name: "Start the run" }).isDisabled());
      await page.getByRole("button", { name: "Sign out plots" }).click();
      await page.waitForURL(/sign-in/);
      await page.getByLabel("Token").fill(owner.token);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.waitForURL(/:\d+\/$/);
      await page.goto(`${url}/ui/start`);
      // As if the token had expired meanwhile.
      await page.context().clearCookies();
      await page.getByRole("button", { name: "Start the run" }).click();
      await page.getByText("You are signed out").waitFor();
      await page.getByRole("button", { name: "Sign out laptop" }).click();
      await page.waitForURL(/sign-in/);
      // What the browser itself says of the wrong token.
      assertEquals(complaints.filter((text) => !text.includes("401")), []);
    } finally {
      await page.close();
      await Promise.all([http.shutdown(), service.close()]);
    }
  },
);

Deno.test(
  "a report that was downloaded shows its charts and tokens without a server",
  options,
  async () => {
    const response = await fetch(`${served!.url}/ui/runs/${run}/report`);
    assertStringIncludes(response.headers.get("content-disposition")!, "attachment");
    const file = join(root, "report.html");
    Deno.writeTextFileSync(file, await response.text());
    const { page, complaints } = await openPage(browser!, { width: 390, theme: "dark" });
    await page.goto(`file://${file}`);
    assert(await page.locator("[data-chart] canvas").count() > 5);
    await page.locator("[data-tokens]").first().focus();
    await page.keyboard.press("Home");
    assertMatch(
      await page.locator("[data-tokens] + output").first().textContent() ?? "",
      /^Token 1 of/,
    );
    await page.getByRole("button", { name: "Light theme" }).click();
    assertEquals(await page.locator("html").getAttribute("data-theme"), "light");
    assertEquals([...await faultsOf(page), ...complaints], []);
    await page.close();
  },
);

Deno.test(
  "no page has a serious fault for those who can't see or use a mouse, nor is too wide",
  options,
  async (t) => {
    const odd = oddRun();
    const paths: [name: string, path: string][] = [
      ["runs", "/"],
      ["run", `/ui/runs/${run}`],
      ["episodes", `/ui/runs/${run}/episodes`],
      ["episode", `/ui/runs/${run}/episodes/1`],
      ["compare", `/ui/compare?run=${run}&run=${await otherRun()}`],
      ["odd run", `/ui/runs/${odd}`],
      ["odd comparison", `/ui/compare?run=${odd}&run=${run}`],
      ["start", "/ui/start"],
      ["playground", "/ui/playground"],
      ["sign-in", "/ui/sign-in"],
      ["api", "/docs"],
      ["nothing", "/ui/nothing"],
    ];
    const folder = Deno.env.get("MENTOR_SCREENSHOTS");
    for (const width of [1280, 390]) {
      for (const theme of ["light", "dark"] as const) {
        for (const [name, path] of paths) {
          if (name.startsWith("odd") && (width !== 390 || theme !== "dark")) continue;
          await t.step(`${name}, ${theme}, ${width} px`, async () => {
            const { page, complaints } = await openPage(browser!, { width, theme });
            await page.goto(served!.url + path);
            if (folder) {
              await page.screenshot({
                path: join(folder, `${name}-${theme}-${width}.png`),
                fullPage: true,
              });
            }
            assertEquals(await faultsOf(page), []);
            // The page that is not there is said to be so by the browser as well.
            assertEquals(complaints.filter((text) => !text.includes("404")), []);
            await page.close();
          });
        }
      }
    }
  },
);

async function otherRun(): Promise<string> {
  const { runs } = await (await fetch(`${served!.url}/runs`)).json();
  return runs.find(({ id }: { id: string }) => id !== run).id;
}

/** A run whose names and messages are long, and have everything that means something in HTML. */
function oddRun(): string {
  const name = "x".repeat(120);
  const text = `</script><img src=x onerror=alert(1)>"'&amp;\u202e${"w".repeat(300)}`;
  const domains = ["a", "b"].map((end) => ({
    ...{ name: text + end, split: "train" as const, pass1: 0.5 },
  }));
  const { path } = makeRun(served!.runs, [
    { type: "run-start", method: "grpo", seed: 4, steps: 9, adapter: text },
    { type: "eval", step: 0, phase: "before", domains },
    { type: "step", step: 1, method: "grpo", metrics: { [text]: 1, loss: 1 } },
    { type: "warning", step: 1, message: text },
    { type: "eval", step: 1, phase: "after", domains },
    { type: "run-end", step: 1, status: "failed", message: text },
  ]);
  Deno.renameSync(path, join(served!.runs, name));
  served!.service.supervisor.tick();
  return name;
}
