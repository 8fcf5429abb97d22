/**
 * Tools that come with the project, by the name that settings give them.
 *
 * @module
 */

import { calculator } from "./calculator.ts";
import type { Tool } from "./tool.ts";

const builtIn: Readonly<Record<string, () => readonly Tool[]>> = {
  calculator: () => calculator().all,
};

/** Every name. */
export const toolNames: readonly string[] = Object.keys(builtIn);

/** The tools of a name; null if there is no such name. */
export function builtInTools(name: string): readonly Tool[] | null {
  return Object.hasOwn(builtIn, name) ? builtIn[name]!() : null;
}
