/**
 * Which configs may come over the network. A run reads files and runs code with the rights of the
 * server, so that a request may name only what the operator has put on a list.
 *
 * @module
 */

import { isAbsolute, relative } from "@std/path";
import {
  ConfigError,
  resolveConfig,
  type RunConfig,
  settingErrors,
  valueAt,
} from "../run/config/mod.ts";
import { settings } from "../run/config/schema.ts";
import { invalid } from "./body.ts";
import type { FieldError } from "./problem.ts";

/** What requests may name. */
export interface Allowed {
  /** Folders whose files they may name, and ids of models of the Hub. */
  readonly places: readonly string[];
  /** Tools, as `tools` in a config names them; code of a module runs unconfined. */
  readonly tools: readonly string[];
}

/** Settings that name a model, and what needs no permission among their values. */
const MODELS: Readonly<Record<string, readonly unknown[]>> = {
  "from": ["scratch", fallbackOf("from")],
  "distill.teacher": [null],
  "likelihood.expert": [null],
  "likelihood.base": [null],
};

/** Settings that name a file. */
const FILES = ["tasks"];

/** Settings that are the server's business. */
export const OWN = ["out", "resume", "tuning"];

/**
 * The config that a request asks for.
 *
 * @param runs folder of the runs, whose models may be used
 * @throws {Problem} 400 with every field that is not valid, or not allowed
 */
export function requestedConfig(
  input: Record<string, unknown>,
  runs: string,
  { places, tools }: Allowed,
): RunConfig {
  const errors: FieldError[] = settingErrors(input);
  if (errors.length > 0) throw invalid("The config", errors);
  const refuse = (path: string, why: string) => {
    errors.push({
      path,
      message: `Cannot use ${path} = ${JSON.stringify(valueAt(input, path))}: ${why}`,
    });
  };
  for (const path of OWN) {
    if ((valueAt(input, path) ?? null) !== null) refuse(path, "the server decides on it");
  }
  for (const path of [...Object.keys(MODELS), ...FILES]) {
    const value = valueAt(input, path) ?? null;
    if (value === null || MODELS[path]?.includes(value)) continue;
    // Of the runs' files, only models.
    const folders = FILES.includes(path) ? places : [runs, ...places];
    const isAllowed = places.includes(value as string) ||
      folders.some((folder) => liesIn(value as string, folder));
    if (!isAllowed) {
      refuse(path, "it is not among the places that the server was started with (--allow)");
    }
  }
  for (const tool of [valueAt(input, "tools") ?? []].flat()) {
    if (tools.includes(tool as string)) continue;
    refuse("tools", "it is not among the tools that the server was started with (--allow-tools)");
  }
  if (errors.length > 0) throw invalid("The config", errors);
  try {
    return resolveConfig({ request: input });
  } catch (error) {
    if (error instanceof ConfigError) {
      throw invalid("The config", [{ path: "", message: error.message }]);
    }
    throw error;
  }
}

/**
 * What requests may name, by the path of the setting, as suggestions; of a folder among the places
 * also what is in it.
 *
 * @param models paths of models of the server's own runs
 */
export function namable(
  { places, tools }: Allowed,
  models: readonly string[],
): Record<string, readonly string[]> {
  const free = (path: string) => MODELS[path]!.filter((value) => typeof value === "string");
  return {
    ...Object.fromEntries(
      Object.keys(MODELS).map((path) => [path, [...free(path), ...models, ...places]]),
    ),
    ...Object.fromEntries(FILES.map((path) => [path, places])),
    tools,
  };
}

/** Whether a path is there, and lies in the folder once all links are followed. */
export function liesIn(path: string, folder: string): boolean {
  const [real, root] = [realPath(path), realPath(folder)];
  if (real === null || root === null) return false;
  const way = relative(root, real);
  return way !== "" && !isAbsolute(way) && way.split(/[/\\]/)[0] !== "..";
}

function realPath(path: string): string | null {
  try {
    return Deno.realPathSync(path);
  } catch {
    return null;
  }
}

function fallbackOf(path: string): unknown {
  return settings.find((setting) => setting.path === path)!.fallback;
}
