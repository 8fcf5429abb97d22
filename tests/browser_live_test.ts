// Pages of the dashboard that stay open in a browser while runs go on and servers come and go.

import type { Page } from "playwright-core";
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import "../mod.ts";
import { RunHold } from "../src/run/control.ts";
import { EventLog } from "../src/run/events.ts";
import { openApp } from "../src/serve/serve.ts";
import { chromiumPath, openBrowser, openPage } from "./browser.ts";
import { begun, ended, freshRuns, makeRun, stepEvent, until } from "./servers.ts";

const ignore = chromiumPath === null;
const options = { ignore, sanitizeResources: false, sanitizeOps: false };
const browser = ignore ? null : await openBrowser();
Deno.test.afterAll(() => browser?.close());

type Handler = (request: Request, info: Deno.ServeHandlerInfo<Deno.NetAddr>) => Promise<Response>;

/** A server over an empty folder of runs, behind what `before` makes of it, and a page. */
async function opened(before: (app: Handler) => Handler = (app) => app) {
  const runs = freshRuns();
  const { app, service } = openApp({ runs });
  const http = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    before(async (request, info) => await app.fetch(request, info)),
  );
  const { page, complaints } = await openPage(browser!, { width: 1280, theme: "light" });
  return {
    ...{ runs, service, page, complaints },
    at: (path: string) => page.goto(`http://127.0.0.1:${http.addr.port}${path}`),
    async [Symbol.asyncDispose]() {
      await page.close();
      await Promise.all([http.shutdown(), service.close()]);
    },
  };
}

const focused = (page: Page) => page.evaluate("document.activeElement.textContent");

Deno.test("a list that changes keeps what is chosen in it, and the focus", options, async () => {
  await using server = await opened();
  const { runs, service, page, complaints } = server;
  const { id } = makeRun(runs, [begun, ended(9)]);
  service.supervisor.tick();
  await server.at("/");
  await page.getByLabel(`Compare ${id}`).check();
  await page.getByRole("link", { name: id }).focus();
  const another = makeRun(runs, [begun, ended(9)]);
  await page.getByRole("link", { name: another.id }).waitFor();
  assertEquals(await focused(page), id);
  assertEquals(await page.locator("input:checked").getAttribute("value"), id);
  assertEquals(complaints, []);
});

Deno.test(
  "what was opened on the page of a run stays open, and keeps the focus",
  options,
  async () => {
    await using server = await opened();
    const { runs, page, complaints } = server;
    const { id, path, events } = makeRun(runs, [begun, stepEvent(1)]);
    Deno.mkdirSync(join(path, "model"));
    using hold = await RunHold.take(path);
    using log = new EventLog(events);
    server.service.supervisor.tick();
    await server.at(`/ui/runs/${id}`);
    await page.getByText("The trained model").click();
    Deno.mkdirSync(join(path, "checkpoint-2"));
    log.emit(stepEvent(2));
    await page.getByText("Checkpoint after step 2").waitFor();
    await page.getByText("2 of 9").waitFor();
    const open = page.locator("details[open] > summary");
    assertEquals(await open.allTextContents(), ["The trained model"]);
    assertEquals(await focused(page), "The trained model");
    assertEquals(complaints, []);
    hold.end();
  },
);

Deno.test(
  "an open page says that it is old, and is new again with its server",
  options,
  async () => {
    // As a proxy: where the server is away, streams end and there is another answer.
    let away = new AbortController();
    await using server = await opened((app) => async (request, info) => {
      if (away.signal.aborted) return new Response("", { status: 502 });
      const answer = await app(request, info);
      if (!request.url.includes("/events")) return answer;
      const ends = new TransformStream({
        start: (stream) => away.signal.addEventListener("abort", () => stream.terminate()),
      });
      return new Response(answer.body?.pipeThrough(ends), answer);
    });
    const { runs, service, page } = server;
    const { id, path, events } = makeRun(runs, [begun, stepEvent(1)]);
    using hold = await RunHold.take(path);
    using log = new EventLog(events);
    service.supervisor.tick();
    await server.at(`/ui/runs/${id}`);
    await page.getByText("1 of 9").waitFor();
    away.abort();
    await page.getByText("The server answered 502").waitFor();
    away = new AbortController();
    log.emit(stepEvent(2));
    await page.getByText("2 of 9").waitFor();
    await page.getByText("The server answered 502").waitFor({ state: "hidden" });
    hold.end();
    await service.delete(id);
    await page.getByText("no longer there").waitFor();
  },
);

Deno.test(
  "a page in the background holds no connection, and is new once looked at",
  options,
  async () => {
    await using server = await opened();
    const { runs, service, page, complaints } = server;
    const { id, path, events } = makeRun(runs, [begun, stepEvent(1)]);
    using hold = await RunHold.take(path);
    using log = new EventLog(events);
    service.supervisor.tick();
    await server.at(`/ui/runs/${id}`);
    await until("it watches", () => service.streams === 1, 20);
    const turn = (hidden: boolean) =>
      page.evaluate(
        `Object.defineProperty(document, "hidden", { value: ${hidden}, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"))`,
      );
    await turn(true);
    await until("it leaves", () => service.streams === 0, 20);
    log.emit(stepEvent(2));
    await turn(false);
    await page.getByText("2 of 9").waitFor();
    await until("it watches again", () => service.streams === 1, 20);
    assertEquals(complaints, []);
    hold.end();
  },
);
