/**
 * What tells runs apart, in as few words as can be.
 *
 * @module
 */

import { compactJson, flatten, NONE } from "../run/report/format.ts";

/** A run and all of its settings; null if they cannot be read. */
export interface ConfiguredRun {
  readonly id: string;
  readonly config: Readonly<Record<string, unknown>> | null;
}

/** A setting, and what each of the runs has for it. */
export interface Difference {
  readonly name: string;
  readonly values: readonly string[];
}

/** Where a run lies, which makes no difference to it. */
const PLACES: readonly string[] = ["out", "resume"];

/** Settings that say by themselves what they are, in the order in which they are named first. */
const TELLING: readonly string[] = ["method", "reward", "from", "size"];

/** Longest value that is part of a label. */
const LONGEST = 24;

/** The settings in which the runs are not all alike. */
export function differences(runs: readonly ConfiguredRun[]): Difference[] {
  const settings = runs.map(({ config }) => new Map(flatten(config ?? {})));
  const names = [...new Set(settings.flatMap((one) => [...one.keys()]))];
  return names.filter((name) => !PLACES.includes(name)).flatMap((name) => {
    const values = settings.map((one) => one.has(name) ? compactJson(one.get(name)) : NONE);
    return new Set(values).size > 1 ? [{ name, values }] : [];
  });
}

/** A label for each run: one or two settings that tell them apart, or else their names. */
export function labelsOf(runs: readonly ConfiguredRun[]): string[] {
  const rank = ({ name }: Difference) => {
    const place = [...TELLING, "seed"].indexOf(name);
    return place < 0 ? Infinity : place;
  };
  const parts = differences(runs)
    .filter(({ values }) => values.every((value) => value !== NONE && value.length <= LONGEST))
    .sort((a, b) => rank(a) - rank(b) || 0)
    .map(({ name, values }) =>
      TELLING.includes(name) ? values : values.map((value) => `${name.split(".").at(-1)} ${value}`)
    );
  const pairs = parts.flatMap((a, i) =>
    parts.slice(i + 1).map((b) => a.map((text, run) => `${text}, ${b[run]}`))
  );
  const tells = (labels: readonly string[]) => new Set(labels).size === runs.length;
  return [...[...parts, ...pairs].find(tells) ?? runs.map(({ id }) => shortened(id))];
}

/** A name without its middle, if it is long: what tells names apart is often at their end. */
function shortened(name: string): string {
  return name.length <= LONGEST ? name : `${name.slice(0, 11)}\u2026${name.slice(-12)}`;
}
