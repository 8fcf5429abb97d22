/**
 * Who may ask: bearer tokens, of which the server knows the hashes alone.
 *
 * A token file has a line per token, `name scope sha256 [expires]`; blank lines and those that begin
 * with `#` don't count:
 *
 * ```
 * laptop control 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
 * plots read 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752 2027-01-31
 * ```
 *
 * @module
 */

import { createHash, timingSafeEqual } from "node:crypto";
import { ConfigError } from "../run/config/mod.ts";

/** What a token lets its bearer do: look, or also start and stop. */
export const scopes = ["read", "control"] as const;
/** One of them. */
export type Scope = typeof scopes[number];

/** A token as the file has it. */
export interface TokenEntry {
  readonly name: string;
  readonly scope: Scope;
  /** SHA-256 of the token. */
  readonly hash: Uint8Array;
  /** When it stops to count, in milliseconds since 1970: as its day begins, by UTC; null is never. */
  readonly expires: number | null;
}

/** Who asks. */
export interface Identity {
  /** The token's name; null where none is needed. */
  readonly name: string | null;
  readonly scope: Scope;
}

/** A name can stand in a log as it is. */
const NAME = /^[\w.-]{1,64}$/;

const DAY_MS = 86_400_000;

/**
 * Reads a token file.
 *
 * @throws {ConfigError} if it cannot be read or used
 */
export function readTokens(path: string): TokenEntry[] {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    throw new ConfigError(`Cannot read token file "${path}": ${(error as Error).message}`);
  }
  const entries = text.split("\n").flatMap((line, i) => {
    const content = line.trim();
    if (content === "" || content.startsWith("#")) return [];
    const entry = parseEntry(content);
    if (typeof entry !== "string") return [entry];
    throw new ConfigError(
      `Cannot use token file "${path}": line ${i + 1} ${entry}. Make a line with ` +
        "./mentor serve token NAME",
    );
  });
  if (entries.length > 0) return entries;
  throw new ConfigError(
    `Cannot use token file "${path}": it holds no token. Make one with ./mentor serve token NAME`,
  );
}

/**
 * Makes a token.
 *
 * @param days for which it counts at least, and until the end of the last by UTC; null is for ever
 * @returns the token, which is not kept anywhere, and its line for the file
 * @throws {ConfigError} if the name is not a plain one
 */
export function newToken(
  name: string,
  scope: Scope,
  days: number | null,
  now: Date = new Date(),
): { token: string; line: string } {
  if (!NAME.test(name)) {
    throw new ConfigError(
      `Cannot make a token "${name}": allowed are up to 64 letters, digits, ".", "_" and "-"`,
    );
  }
  const random = crypto.getRandomValues(new Uint8Array(32));
  const token = `mentor_${random.toBase64({ alphabet: "base64url", omitPadding: true })}`;
  const expires = days === null
    ? ""
    : ` ${dayOf(Math.ceil(now.getTime() / DAY_MS + days) * DAY_MS)}`;
  return { token, line: `${name} ${scope} ${hashOf(token).toString("hex")}${expires}` };
}

/**
 * Whose a token is; null if it is nobody's. All entries are compared in full, so that the time that
 * takes tells nothing.
 */
export function findToken(entries: readonly TokenEntry[], token: string): TokenEntry | null {
  const hash = hashOf(token);
  let found: TokenEntry | null = null;
  for (const entry of entries) {
    if (timingSafeEqual(entry.hash, hash)) found = entry;
  }
  return found;
}

/** The day that begins at a time, by UTC. */
function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

function hashOf(token: string) {
  return createHash("sha256").update(token).digest();
}

/** What is wrong with the line, if it is no token's. */
function parseEntry(line: string): TokenEntry | string {
  const [name = "", scope = "", hash = "", expires, ...rest] = line.split(/\s+/);
  if (!NAME.test(name)) return `names a token "${name}"`;
  if (!scopes.some((each) => each === scope)) {
    return `gives "${name}" the scope "${scope}", allowed is ${scopes.join(" or ")}`;
  }
  if (!/^[0-9a-f]{64}$/.test(hash)) return `has no SHA-256 in hexadecimal for "${name}"`;
  const end = expires === undefined ? null : Date.parse(expires);
  // Date.parse takes much else, and the 31st of February for the 3rd of March.
  const isDay = end === null || !Number.isNaN(end) && dayOf(end) === expires;
  if (!isDay || rest.length > 0) return `does not end with a date as 2027-01-31`;
  return { name, scope: scope as Scope, hash: Uint8Array.fromHex(hash), expires: end };
}
