/**
 * Text up to the first of some stop strings.
 *
 * @module
 */

import { findMark } from "../../text/marks.ts";

/** Takes text piece by piece and hands out what can't be part of a stop string. */
export class StopText {
  readonly #stops: readonly string[];
  #held = "";
  #stopped = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** Whether a stop string came. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Takes more text; returns what is certain. */
  push(text: string): string {
    if (this.#stopped) return "";
    const all = this.#held + text;
    const { at, sure } = findMark(all, this.#stops);
    this.#stopped = sure;
    this.#held = sure ? "" : all.slice(at);
    return all.slice(0, at);
  }

  /** What was held back, as nothing follows. */
  end(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }
}
