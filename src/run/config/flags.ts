/**
 * The command line of a run, made from the settings' schema: one flag per setting.
 *
 * A setting `rollout.maxTokens` is `--rollout.max-tokens`, `--rollout.maxTokens` or
 * `--rollout-max-tokens`; the most used ones have a short name, too.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import type { ProfileDetail } from "../../gpu/profiler.ts";
import { ConfigError, refusal } from "./mod.ts";
import { settings } from "./schema.ts";
import type { Setting } from "./setting.ts";
import { suggestion } from "./suggest.ts";

/** What a command line says. */
export interface ParsedFlags {
  /** Settings, nested as in a config file: a layer for `resolveConfig`. */
  readonly flags: Record<string, unknown>;
  /** What is no flag. */
  readonly positional: string[];
  /** `--config FILE`; null without. */
  readonly config: string | null;
  /** `--json`: one machine-readable document on stdout. */
  readonly json: boolean;
  /** `--quiet`: no progress. */
  readonly quiet: boolean;
  /** `--help`. */
  readonly help: boolean;
  /** `--profile`, which times kernels, or `--profile=submits`. */
  readonly profile?: ProfileDetail;
}

/** Short names, by the flag they stand for. */
const aliases: Readonly<Record<string, string>> = {
  from: "model",
  "optimizer-learning-rate": "lr",
  "rollout-slots": "slots",
};

const switches = {
  json: "Print one JSON document on stdout, everything else on stderr",
  quiet: "Show no progress",
  help: "Print this help",
} as const;

/** Settings by the flag as it is compared: `rollout-max-tokens`. */
const settingOf = new Map(settings.map((setting) => [kebab(setting.path), setting]));

/**
 * Reads a command line.
 *
 * @throws {ConfigError} if a flag is unknown, has no value, or has one that is not allowed
 */
export function parseFlags(argv: readonly string[]): ParsedFlags {
  let unknown: string | undefined;
  const parsed = parseArgs(normalise(argv), {
    string: ["_", "config", "profile", ...settingOf.keys()],
    boolean: Object.keys(switches),
    alias: { ...aliases, help: "h", quiet: "q" },
    unknown: (arg) => {
      // Called for positional arguments as well.
      if (arg.startsWith("-")) unknown ??= arg.replace(/=.*$/s, "");
      return true;
    },
  });
  if (unknown !== undefined) {
    const others = ["config", "profile", ...Object.keys(switches), ...shortNames()];
    const known = [...settingOf.keys(), ...others];
    const name = unknown.replace(/^-+/, "");
    throw new ConfigError(
      `Cannot use flag "${unknown}": there is no such flag${
        suggestion(name, known).replace('"', '"--')
      }. --help lists them all`,
    );
  }
  const flags: Record<string, unknown> = {};
  for (const [flag, setting] of settingOf) {
    const text = parsed[flag] as string | undefined;
    if (text !== undefined) assign(flags, setting.path, readValue(flag, setting, text));
  }
  const profile = readProfile(parsed["profile"] as string | undefined);
  return {
    flags,
    positional: parsed._.map(String),
    config: readPath(parsed["config"] as string | undefined),
    json: parsed["json"] === true,
    quiet: parsed["quiet"] === true,
    help: parsed["help"] === true,
    ...(profile === undefined ? {} : { profile }),
  };
}

/**
 * Takes a command's own flags, `--name VALUE` or `--name=VALUE`, out of a command line.
 *
 * @param switches flags that take no value; theirs is empty
 * @throws {ConfigError} if one has no value.
 */
export function takeFlags(
  argv: readonly string[],
  names: readonly string[],
  switches: readonly string[] = [],
): { own: Record<string, string>; rest: string[] } {
  const own: Record<string, string> = {};
  const rest: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const [, name, inline] = /^--([^=]+)(?:=(.*))?$/s.exec(argv[i]!) ?? [];
    if (name !== undefined && inline === undefined && switches.includes(name)) {
      own[name] = "";
      continue;
    }
    if (name === undefined || !names.includes(name)) {
      rest.push(argv[i]!);
      continue;
    }
    const value = inline ?? argv[++i];
    if (!value || value.startsWith("--")) {
      throw new ConfigError(`Cannot use flag --${name} without a value`);
    }
    own[name] = value;
  }
  return { own, rest };
}

/** The table of all flags, for `--help`; `profile` tells whether the command takes that flag. */
export function flagHelp({ profile = false } = {}): string {
  const rows: [string, string][] = settings.map((setting) => {
    const short = aliases[kebab(setting.path)];
    const names = `--${flagName(setting.path)}${short ? `, --${short}` : ""}`;
    return [names, explain(setting)];
  });
  rows.push(["--config", "Config file, YAML or JSON; flags win over it"]);
  if (profile) {
    rows.push(["--profile", "Measure where the time goes, by kernel; =submits disturbs it less"]);
  }
  for (const [name, text] of Object.entries(switches)) rows.push([`--${name}`, text]);
  const width = Math.max(...rows.map(([names]) => names.length));
  return rows.map(([names, text]) => `  ${names.padEnd(width)}  ${text}\n`).join("");
}

function explain({ description, options, fallback }: Setting): string {
  const text = options === null ? description : `${description}: ${options.join(", ")}`;
  return fallback === null ? text : `${text} (default ${String(fallback)})`;
}

function readValue(flag: string, setting: Setting, text: string): unknown {
  if (text === "") {
    throw new ConfigError(
      `Cannot use flag --${flag} without a value: allowed is ${setting.allowed}`,
    );
  }
  const value = convert(setting, text);
  if (!setting.accepts(value)) throw new ConfigError(refusal(setting, ` (from --${flag})`, value));
  return value;
}

/** The text itself if it does not convert: the schema refuses it and so shows what was typed. */
function convert({ kind, nullable }: Setting, text: string): unknown {
  if (nullable && text === "null") return null;
  if (kind === "text") return text;
  if (kind === "switch") return text === "true" || (text === "false" ? false : text);
  if (kind === "texts") return text.split(",").map((item) => item.trim());
  if (kind === "numbers") return text.split(",").map(toNumber);
  return toNumber(text);
}

function toNumber(text: string): number | string {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text.trim()) ? Number(text) : text;
}

function readPath(text: string | undefined): string | null {
  if (text === "") throw new ConfigError("Cannot use flag --config without a path");
  return text ?? null;
}

function readProfile(text: string | undefined): ProfileDetail | undefined {
  if (text === undefined || text === "kernels" || text === "submits") return text;
  if (text === "") return "kernels";
  throw new ConfigError(
    `Cannot use flag --profile with "${text}": allowed is kernels, as without a value, or submits`,
  );
}

/** Brings each `--flag` before `--` to the form in which flags are compared. */
function normalise(argv: readonly string[]): string[] {
  const end = argv.includes("--") ? argv.indexOf("--") : argv.length;
  const args: string[] = [];
  for (const arg of argv.slice(0, end)) {
    const [, name, value] = /^--([^=]+)(.*)$/s.exec(arg) ?? [];
    if (value === "=") throw new ConfigError(`Cannot use flag --${name} without a value`);
    if (name !== undefined && value === "" && settingOf.get(kebab(name))?.kind === "switch") {
      args.push(`--${kebab(name)}=true`);
      continue;
    }
    // A negative number is a value and no flag: `--seed -1` is `--seed=-1`.
    const isValue = /^-[\d.]/.test(arg) && /^--[^=]+$/.test(args.at(-1) ?? "");
    if (isValue) args.push(`${args.pop()}=${arg}`);
    else args.push(name === undefined ? arg : `--${kebab(name)}${value}`);
  }
  return [...args, ...argv.slice(end)];
}

function kebab(path: string): string {
  return flagName(path).replaceAll(".", "-");
}

/** The flag of a setting: that of `rollout.topK` is `rollout.top-k`. */
export function flagName(path: string): string {
  return path.replace(/(?<=[a-z0-9])[A-Z]/g, "-$&").toLowerCase();
}

function shortNames(): string[] {
  return Object.values(aliases);
}

function assign(target: Record<string, unknown>, path: string, value: unknown): void {
  const keys = path.split(".");
  let at = target;
  for (const key of keys.slice(0, -1)) at = (at[key] ??= {}) as Record<string, unknown>;
  at[keys.at(-1)!] = value;
}
