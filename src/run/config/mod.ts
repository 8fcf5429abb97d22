/**
 * How a run's configuration comes about, and how it is stored.
 *
 * @module
 */

import * as v from "valibot";
import { parse as parseYaml } from "yaml";
import { isRecord } from "../../text/json_value.ts";
import { checkTogether } from "./checks.ts";
import { runConfigSchema, settings } from "./schema.ts";
import { ConfigError, type RunConfig } from "./run_config.ts";
import type { Setting } from "./setting.ts";
import { suggestion } from "./suggest.ts";

export { ConfigError } from "./run_config.ts";
export type { DomainName, MethodName, RewardName, RunConfig } from "./run_config.ts";

type Same<A, B> = [A, B] extends [B, A] ? true : false;
// The interface is the schema's type spelled out for readers; it cannot drift from it.
true satisfies Same<RunConfig, v.InferOutput<typeof runConfigSchema>>;

/** Sources of settings, strongest last; each may hold any part of a config. */
export interface ConfigLayers {
  /** Settings that belong together under a name. */
  readonly preset?: unknown;
  /** The contents of a config file. */
  readonly file?: unknown;
  /** From the command line. */
  readonly flags?: unknown;
  /** The body of an HTTP request. */
  readonly request?: unknown;
}

/**
 * The config that the layers amount to: request before flag before file before preset before default.
 *
 * @throws {ConfigError} if a setting is unknown, not allowed, or contradicts another
 */
export function resolveConfig(layers: ConfigLayers = {}): RunConfig {
  const { preset = {}, file = {}, flags = {}, request = {} } = layers;
  for (const [name, layer] of Object.entries({ preset, "config file": file, flags, request })) {
    if (!isRecord(layer)) {
      throw new ConfigError(`Cannot use the ${name}: expected settings, not ${show(layer)}`);
    }
  }
  const result = v.safeParse(
    runConfigSchema,
    [preset, file, flags, request].reduce(mergeSettings, {}),
  );
  if (!result.success) throw new ConfigError(explain(result.issues[0], layers));
  checkTogether(result.output);
  return result.output;
}

/** Everything in a layer that the schema does not allow, setting by setting. */
export function settingErrors(layer: unknown): { path: string; message: string }[] {
  const result = v.safeParse(runConfigSchema, layer);
  return (result.issues ?? []).map((issue) => ({
    path: (issue.path ?? []).map(({ key }) => String(key)).join("."),
    message: explain(issue, { request: layer }),
  }));
}

/** The number of imitation steps before the method, with `warmupSft: null` decided. */
export function warmupSteps(config: RunConfig): number {
  if (config.method === "sft") return 0;
  return config.warmupSft ?? (config.tasks === null ? 0 : config.steps);
}

/** The config as it is stored: the same config gives the same text. */
export function configJson(config: RunConfig): string {
  return `${JSON.stringify(config, null, 2)}\n`;
}

/**
 * Reads a config file, YAML or JSON; its settings are checked by {@linkcode resolveConfig}.
 *
 * @throws {ConfigError} if there is no such file, or it does not parse
 */
export function readConfigFile(path: string): Record<string, unknown> {
  let value: unknown;
  try {
    const text = Deno.readTextFileSync(path);
    // JSON is YAML, too, but as that a config takes 8 ms to read, and lists of runs read many.
    value = path.endsWith(".json") ? JSON.parse(text) : parseYaml(text);
  } catch (error) {
    throw new ConfigError(`Cannot read config file "${path}": ${(error as Error).message.trim()}`, {
      cause: error,
    });
  }
  // An empty file, or one of comments only, sets nothing.
  if (value === null) return {};
  if (isRecord(value)) return value;
  throw new ConfigError(`Cannot read config file "${path}": expected settings, not ${show(value)}`);
}

function explain(issue: v.BaseIssue<unknown>, layers: ConfigLayers): string {
  const keys = (issue.path ?? []).map(({ key }) => String(key));
  const path = keys.join(".");
  const setting = settings.find((each) => path === each.path || path.startsWith(`${each.path}.`));
  if (setting !== undefined) {
    const value = at([layers.request, layers.flags, layers.file, layers.preset], setting.path);
    return refusal(setting, origin(setting.path, layers), value);
  }
  if (settings.some((each) => each.path.startsWith(`${path}.`))) {
    return `Cannot use ${path} = ${show(issue.input)}: expected a group of settings`;
  }
  const known = settings.map((each) => each.path);
  return `Cannot use ${path}${origin(path, layers)}: there is no such setting` +
    suggestion(path, known);
}

/** Why a setting's value is not allowed; `from` says where it was set. */
export function refusal(setting: Setting, from: string, value: unknown): string {
  return `Cannot use ${setting.path} = ${show(value)}${from}: allowed is ${setting.allowed}`;
}

function origin(path: string, { request, flags, file, preset }: ConfigLayers): string {
  if (at([request], path) !== undefined) return " (from the request)";
  if (at([flags], path) !== undefined) return " (from a flag)";
  if (at([file], path) !== undefined) return " (from the config file)";
  return at([preset], path) !== undefined ? " (from the preset)" : "";
}

/** The value at a dotted path in the first of the layers that has it. */
function at(layers: readonly unknown[], path: string): unknown {
  return layers.map((layer) => valueAt(layer, path)).find((value) => value !== undefined);
}

/** The value at a dotted path of nested settings. */
export function valueAt(layer: unknown, path: string): unknown {
  let value = layer;
  for (const key of path.split(".")) value = isRecord(value) ? value[key] : undefined;
  return value;
}

/** Settings over others, group by group. */
export function mergeSettings(
  under: Record<string, unknown>,
  over: unknown,
): Record<string, unknown> {
  const merged = { ...under };
  for (const [key, value] of Object.entries(over as Record<string, unknown>)) {
    if (value === undefined) continue;
    const below = merged[key];
    merged[key] = isRecord(below) && isRecord(value) ? mergeSettings(below, value) : value;
  }
  return merged;
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}
