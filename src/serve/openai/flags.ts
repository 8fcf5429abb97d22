/**
 * The flags that say which models are offered, and in how much memory.
 *
 * @module
 */

import { ConfigError } from "../../run/config.ts";
import { InferenceEngine } from "./engine.ts";
import { loadServed } from "./load.ts";

/** The flags, for help. */
export const inferenceFlags = {
  models: "Models to talk to: id=folder, id=file.gguf or id=org/name, with commas between",
  slots: "Completions generated at the same time (default 16)",
  context: "Longest conversation in tokens (default 4096, or what the model knows)",
  queue: "Completions that may wait for a slot; more are refused (default 64)",
} as const;

/**
 * The engine that flags ask for. Memory is taken when a model is first asked for.
 *
 * @param busy why nothing may run now, such as a training run on the same GPU; null if it may
 * @throws {ConfigError} if a flag says something else than its help.
 */
export function openEngine(
  flags: Readonly<Partial<Record<keyof typeof inferenceFlags, string>>>,
  busy: () => string | null,
): InferenceEngine {
  const slots = positive("slots", flags.slots ?? "16");
  const context = positive("context", flags.context ?? "4096");
  const waiting = positive("queue", flags.queue ?? "64");
  const chat = { format: "auto", system: null } as const;
  return new InferenceEngine({
    models: readModels(flags.models ?? ""),
    load: (path) => loadServed(path, { slots, context, tuning: null, dtype: "auto", chat }),
    capacity: slots + waiting,
    busy,
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
