/**
 * Tools that come with the project, by the name that settings give them.
 *
 * @module
 */

import { calculator } from "./calculator.ts";
import { dateTools } from "./dates.ts";
import { tableTools } from "./table.ts";
import type { Tool } from "./tool.ts";
import { unitTools } from "./units.ts";

const builtIn: Readonly<Record<string, () => readonly Tool[]>> = {
  calculator: () => calculator().all,
  units: () => unitTools,
  dates: () => dateTools,
  table: () => tableTools,
};

/** Every name. */
export const toolNames: readonly string[] = Object.keys(builtIn);

/** The tools of a name; null if there is no such name. */
export function builtInTools(name: string): readonly Tool[] | null {
  return Object.hasOwn(builtIn, name) ? builtIn[name]!() : null;
}
