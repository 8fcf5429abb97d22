/**
 * Spans and metrics of a run for OpenTelemetry, which Deno exports if it was started with
 * `OTEL_DENO=true`. Without that nothing here is loaded, or costs anything.
 *
 * @module
 */

import type { Attributes, Gauge } from "@opentelemetry/api";
import type { EventListener, RunEvent } from "./events.ts";
import { measuresOf } from "./measures.ts";

/** Where the API finds what implements it; to look there takes no permission. */
const IMPLEMENTATION = Symbol.for("opentelemetry.js.api.1");

/** OpenTelemetry's API; null where nothing implements it. */
export async function openTelemetry(): Promise<typeof import("@opentelemetry/api") | null> {
  return IMPLEMENTATION in globalThis ? await import("@opentelemetry/api") : null;
}

/** What events with a time of their own are called as spans. */
const SPANS: Partial<Record<RunEvent["type"], string>> = {
  step: "step",
  eval: "evaluation",
  "run-end": "run",
};

/**
 * Reports the events of a run: a span for each step, evaluation and the whole, and a gauge for each
 * curve, `mentor.reward` for `reward`. Null where nobody is told.
 *
 * @param run its name, which is the attribute `mentor.run` of all
 */
export async function reportTelemetry(run: string): Promise<EventListener | null> {
  const api = await openTelemetry();
  if (!api) return null;
  const tracer = api.trace.getTracer("mentor");
  const meter = api.metrics.getMeter("mentor");
  const gauges = new Map<string, Gauge>();
  return (event) => {
    for (const [name, value] of measuresOf(event)) {
      // Tools and domains are called as they like.
      const gauge = gauges.get(name) ??
        meter.createGauge(`mentor.${name.replace(/[^\w./-]/g, "_")}`);
      gauges.set(name, gauge);
      gauge.record(value, { "mentor.run": run });
    }
    const name = SPANS[event.type];
    if (name === undefined || !("timing" in event) || !event.timing) return;
    const ended = Date.parse(event.time);
    const span = tracer.startSpan(name, {
      startTime: ended - event.timing.seconds * 1000,
      attributes: attributesOf(event, run),
    });
    if (event.type === "run-end" && event.status === "failed") {
      span.setStatus({ code: api.SpanStatusCode.ERROR, message: event.message ?? "" });
    }
    span.end(ended);
  };
}

function attributesOf(event: RunEvent, run: string): Attributes {
  const { timing = {} } = event as { timing?: Readonly<Record<string, number>> };
  const words = ["step", "method", "phase", "status"].flatMap((key) => {
    const value = (event as unknown as Attributes)[key];
    return value === undefined ? [] : [[`mentor.${key}`, value] as const];
  });
  const seconds = Object.entries(timing).map(([part, value]) => [`mentor.timing.${part}`, value]);
  return { "mentor.run": run, ...Object.fromEntries([...words, ...seconds]) };
}
