/**
 * The numbers of a run's events by name, as its curves have them wherever they are shown.
 *
 * @module
 */

import type { RunEvent } from "./events.ts";

/** A number that an event reports. */
export type Measure = readonly [name: string, value: number];

/**
 * The numbers of an event: metrics and `timing/` of a step, `eval/<domain>/<split>/` of an
 * evaluation. What is no finite number has no place on a curve.
 */
export function measuresOf(event: RunEvent): Measure[] {
  return allOf(event).filter((measure): measure is Measure => Number.isFinite(measure[1]));
}

function allOf(event: RunEvent): (readonly [name: string, value: unknown])[] {
  if (event.type === "step") {
    const timing = Object.entries(event.timing ?? {});
    return [
      ...Object.entries(event.metrics),
      ...timing.map(([part, seconds]) => [`timing/${part}`, seconds] as const),
    ];
  }
  if (event.type !== "eval") return [];
  return event.domains.flatMap((domain) =>
    Object.entries(domain).map(([measure, value]) =>
      [`eval/${domain.name}/${domain.split}/${measure}`, value] as const
    )
  );
}
