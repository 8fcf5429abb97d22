// What OpenTelemetry hears of a server and of its runs, told to a collector of our own.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { train } from "../mod.ts";
import { readEvents } from "../src/run/events.ts";
import { openTelemetry, reportTelemetry } from "../src/run/telemetry.ts";
import { settings, studentFolder, traces } from "./runs.ts";
import { freshRuns, ServerProcess, until } from "./servers.ts";

// deno-lint-ignore no-explicit-any -- OTLP in JSON, of which the test looks at some
type Json = any;

/** A value of OTLP. */
const plain = (value: Json) =>
  value.intValue === undefined ? Object.values(value)[0] : Number(value.intValue);
const attributesOf = ({ attributes = [] }: Json): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }: Json) => [key, plain(value)]));

/** Takes what is exported over HTTP. */
class Collector implements AsyncDisposable {
  readonly spans: { name: string; seconds: number; attributes: Record<string, unknown> }[] = [];
  /** The last value of each gauge, and the run that it is of. */
  readonly gauges = new Map<string, [run: unknown, value: number]>();
  readonly logs: string[] = [];
  readonly #server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    async (request) => {
      const body: Json = await request.json();
      const scopes = [body.resourceSpans, body.resourceMetrics, body.resourceLogs].flat()
        .flatMap((resource) =>
          resource?.scopeSpans ?? resource?.scopeMetrics ?? resource?.scopeLogs ?? []
        );
      for (const { spans = [], metrics = [], logRecords = [] } of scopes) {
        for (const span of spans) {
          const seconds = Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) /
            1e9;
          this.spans.push({ name: span.name, seconds, attributes: attributesOf(span) });
        }
        for (const { name, gauge } of metrics) {
          const point = gauge?.dataPoints.at(-1);
          if (point) this.gauges.set(name, [attributesOf(point)["mentor.run"], point.asDouble]);
        }
        for (const { body } of logRecords) this.logs.push(String(plain(body)));
      }
      return Response.json({});
    },
  );

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** Sets variables of the environment until it is disposed of. */
function environment(variables: Readonly<Record<string, string>>): Disposable {
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  return {
    [Symbol.dispose]() {
      for (const name of Object.keys(variables)) Deno.env.delete(name);
    },
  };
}

Deno.test("a server and its runs tell OpenTelemetry routes, steps and curves", async () => {
  const more = { steps: 2, evaluation: { prompts: 1, samples: 1 } };
  const { out: _, ...config } = await settings(more);
  await using collector = new Collector();
  const runs = freshRuns();
  let id: string;
  {
    using _environment = environment({
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_METRIC_EXPORT_INTERVAL: "500",
      OTEL_BSP_SCHEDULE_DELAY: "200",
      NO_PROXY: "127.0.0.1",
    });
    await using server = await ServerProcess.start(runs, "--allow", await studentFolder());
    id = (await server.ask("POST", "/runs", config)).body.id;
    await server.ask("GET", "/runs/none/metrics");
    await server.ask("GET", "/nothing");
    await until(
      "finished",
      async () => (await server.ask("GET", `/runs/${id}`)).body.state === "finished",
    );
  }
  const run = join(runs, id);
  const named = (name: string) => collector.spans.filter((span) => span.name === name);
  await until("all was exported", () => named("run").length > 0 && named("GET").length > 0, 10);

  const [started] = named("POST /runs");
  assertEquals(started!.attributes["http.route"], "/runs");
  assertEquals(started!.attributes["http.response.status_code"], "201");
  assertEquals(named("GET /runs/:id/metrics").length, 1);
  assert(named("GET /runs/:id").length > 0);
  assertEquals(named("GET")[0]!.attributes["http.route"], undefined);

  const events = readEvents(join(run, "events.jsonl"));
  const steps = events.filter((event) => event.type === "step");
  assertEquals(
    named("step").map(({ attributes }) => [attributes["mentor.run"], attributes["mentor.step"]]),
    [[id, 1], [id, 2]],
  );
  named("step").forEach(({ seconds }, i) =>
    assert(Math.abs(seconds - steps[i]!.timing!.seconds) < 1e-3, `${seconds} s`)
  );
  assertEquals(named("evaluation").map(({ attributes }) => attributes["mentor.phase"]), [
    ...["before", "after"],
  ]);
  assertEquals(named("run").map(({ attributes }) => attributes["mentor.status"]), ["done"]);
  assertEquals(collector.gauges.get("mentor.reward"), [id, steps.at(-1)!.metrics["reward"]!]);
  assert(collector.gauges.has("mentor.eval/arith/train/pass1"));
  assert(collector.logs.some((line) => line.includes("Done in")), collector.logs.join(""));

  // Nobody listens to this process, and its run is the same.
  const alone = await train(await settings(more));
  assertEquals(await traces(run), await traces(alone.run));
});

Deno.test("where nothing is exported nothing is loaded", async () => {
  assertEquals([await openTelemetry(), await reportTelemetry("run")], [null, null]);
});
