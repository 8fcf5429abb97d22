/**
 * Parts of a run that are given in code, which its config cannot hold.
 *
 * @module
 */

import { ConfigError } from "./config/mod.ts";
import { readEvents } from "./events.ts";
import type { RunFolder } from "./store.ts";

const parts = ["reward", "potential"] as const;

/** Something that code can give in place of what the config says. */
export type OwnPart = typeof parts[number];

/** Which of them are given. */
export function ownParts(given: Readonly<Partial<Record<OwnPart, unknown>>>): OwnPart[] {
  return parts.filter((part) => given[part] !== undefined);
}

/**
 * A run that goes on learns from what it learned from before.
 *
 * @param given what there is to go on with
 * @throws {ConfigError} if the run was begun with a part that is not given, or without one that is.
 */
export function requireOwnParts(
  { path, events, config }: RunFolder,
  given: readonly OwnPart[],
): void {
  const start = readEvents(events).find((event) => event.type === "run-start");
  const begun = start?.own ?? [];
  for (const part of parts) {
    if (begun.includes(part) && !given.includes(part)) {
      throw new ConfigError(
        `Cannot resume "${path}": it was begun with a ${part} of its own, which its folder does not ` +
          `hold. Resume it in code, and give it again: train({ resume: "${path}" }, { ${part} })`,
      );
    }
    if (given.includes(part) && !begun.includes(part)) {
      const was = part === "reward" ? `with reward = "${config.reward}"` : "without one";
      throw new ConfigError(
        `Cannot resume "${path}" with a ${part} of its own: it was begun ${was}. ` +
          "Leave it out, or start a new run",
      );
    }
  }
}
