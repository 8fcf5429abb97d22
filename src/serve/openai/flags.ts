/**
 * Which models are offered, and in how much memory; as options, and as flags.
 *
 * @module
 */

import { ConfigError } from "../../run/config/mod.ts";
import { InferenceEngine } from "./engine.ts";
import { loadServed } from "./load.ts";

/** The flags, for help. */
export const inferenceFlags = {
  models: "Models to talk to: id=folder, id=file.gguf or id=org/name, with commas between",
  slots: "Completions generated at the same time (default 16)",
  context: "Longest conversation in tokens (default 4096, or what the model knows)",
  queue: "Completions that may wait for a slot; more are refused (default 64)",
} as const;

/** What is offered, and in how much memory. */
export interface InferenceOptions {
  /** Folders, GGUF files and models of the Hub, by the ids under which clients know them; none. */
  readonly models?: Readonly<Record<string, string>>;
  /** Completions generated at the same time; 16. */
  readonly slots?: number;
  /** Longest conversation in tokens, where the model knows as long ones; 4096. */
  readonly context?: number;
  /** Completions that may wait for a slot; 64. */
  readonly queue?: number;
}

/**
 * What flags say.
 *
 * @throws {ConfigError} if one says something else than its help.
 */
export function inferenceOptions(
  flags: Readonly<Partial<Record<keyof typeof inferenceFlags, string>>>,
): InferenceOptions {
  const number = (name: "slots" | "context" | "queue") =>
    flags[name] === undefined ? {} : { [name]: positive(name, flags[name]) };
  return {
    models: readModels(flags.models ?? ""),
    ...number("slots"),
    ...number("context"),
    ...number("queue"),
  };
}

/**
 * An engine. Memory is taken when a model is first asked for.
 *
 * @param busy why nothing may run now, such as a training run on the same GPU; null if it may
 * @param onError told of what goes wrong that no client is told of; by default it is printed
 */
export function openEngine(
  { models = {}, slots = 16, context = 4096, queue = 64 }: InferenceOptions,
  busy: () => string | null,
  onError?: (error: Error) => void,
): InferenceEngine {
  const chat = { format: "auto", system: null } as const;
  return new InferenceEngine({
    models,
    load: (path) => loadServed(path, { slots, context, tuning: null, dtype: "auto", chat }),
    capacity: slots + queue,
    busy,
    ...(onError ? { onError: (error) => onError(error as Error) } : {}),
  });
}

function readModels(text: string): Record<string, string> {
  const models: Record<string, string> = {};
  for (const entry of text.split(",").map((part) => part.trim()).filter((part) => part !== "")) {
    const [, id, path] = /^([^=\s]+)=(.+)$/.exec(entry) ?? [];
    if (id === undefined || Object.hasOwn(models, id)) {
      const fault = id === undefined ? "is not of the form id=path" : "has an id that is taken";
      throw new ConfigError(
        `Cannot offer the models: "${entry}" ${fault}; write --models a=folder,b=file.gguf`,
      );
    }
    models[id] = path!;
  }
  return models;
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new ConfigError(`Cannot use --${name} ${text}: it must be a positive whole number`);
}
