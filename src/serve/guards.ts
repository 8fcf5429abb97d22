/**
 * Who gets in: what is checked of every request before anything is done for it.
 *
 * Without tokens the server is for programs of this machine alone, wherever it listens. A web page
 * in its browser is none of these: a page from elsewhere is told by its `Origin`, and one that made
 * its own name point to this machine (DNS rebinding) by the `Host` that it asks for.
 *
 * @module
 */

import type { IncomingMessage } from "node:http";
import type { Context, MiddlewareHandler } from "hono";
import { getCookie } from "hono/cookie";
import { Problem } from "./problem.ts";
import { RateLimit } from "./rate_limit.ts";
import { findToken, type Identity, type TokenEntry } from "./tokens.ts";

/** What is known of a request. */
export interface ServeEnv {
  Variables: {
    /** Who asks. */
    identity: Identity;
    /** What went wrong in the server, for its log. */
    failure: Error;
  };
}

/** Whom to let in. */
export interface GuardOptions {
  /** Tokens; null is none, for requests from this machine. */
  readonly tokens: readonly TokenEntry[] | null;
  /** Origins of other web pages that may ask. */
  readonly origins: readonly string[];
  readonly now?: () => number;
}

/** What anybody may see: that the server is there, how it is used, and where a token is given. */
const PUBLIC = /^\/(health|openapi\.json|docs|ui\/sign-in|ui\/assets\/[^/]*)$/;

/** Whether a path is of a page, which people look at, rather than programs. */
export function isPage(path: string): boolean {
  return /^\/(ui\/(?!assets\/).*)?$/.test(path);
}

/** The cookie in which a browser keeps its token. */
export const SESSION_COOKIE = "mentor_token";

/** How often in a second an address may come without a token that is good. */
const GUESSES = 10;

/** The address of a request that came without a connection, from this program itself. */
const UNKNOWN = "unknown";

/** That of a client which has left since: it is not told any more. */
const GONE = "gone";

/** Names and addresses of this machine. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  return name === "localhost" || name === "[::1]" || name === "::1" ||
    /^(::ffff:)?127(\.\d{1,3}){3}$/.test(name);
}

/** Whether a request changes nothing. */
export function isSafe(method: string): boolean {
  return method === "GET" || method === "HEAD" || method === "OPTIONS";
}

/** Where a request comes from: a network address, or nothing known where there is no connection. */
export function addressOf(c: Context): string {
  // Of our own listener, or of `Deno.serve` where somebody else serves the app.
  const { incoming, remoteAddr } = (c.env ?? {}) as {
    incoming?: IncomingMessage;
    remoteAddr?: Deno.NetAddr;
  };
  if (incoming) return incoming.socket.remoteAddress ?? GONE;
  return remoteAddr?.hostname ?? UNKNOWN;
}

/** Refuses what another machine or a web page from elsewhere asks for. */
export function guardOrigin({ tokens, origins }: GuardOptions): MiddlewareHandler {
  return async (c, next) => {
    const address = addressOf(c);
    if (tokens === null && address !== UNKNOWN && !isLoopback(address)) {
      throw new Problem(403, "Without tokens the server answers programs of this machine alone");
    }
    const host = c.req.header("host") ?? new URL(c.req.url).host;
    if (tokens === null && !isLoopback(host.replace(/:\d+$/, ""))) {
      throw new Problem(
        421,
        "Without tokens the server answers to names of this machine alone, as localhost",
      );
    }
    const origin = c.req.header("origin");
    // What such a page asks to see, its browser does not show it.
    const isForeign = origin !== undefined && !origins.includes(origin) &&
      !isSameOrigin(origin, host);
    if (isForeign && !isSafe(c.req.method)) {
      throw new Problem(403, "Requests from pages of another origin are not allowed");
    }
    await next();
  };
}

/** Finds out who asks, and refuses those who may not. */
export function guardIdentity(
  { tokens, now = Date.now }: GuardOptions,
): MiddlewareHandler<ServeEnv> {
  const guesses = new RateLimit(GUESSES);
  return async (c, next) => {
    try {
      c.set("identity", identify(c, tokens, now()));
    } catch (error) {
      guesses.require(addressOf(c));
      if (isPage(c.req.path) && isSafe(c.req.method)) return c.redirect(signInFor(c.req.url));
      throw error;
    }
    const acts = !isSafe(c.req.method) && c.req.path !== "/session";
    if (acts && c.get("identity").scope !== "control") {
      throw new Problem(
        403,
        "This token may read alone; what starts, stops, deletes or generates takes one for control",
      );
    }
    await next();
  };
}

function identify(c: Context, tokens: readonly TokenEntry[] | null, now: number): Identity {
  if (tokens === null) return { name: null, scope: "control" };
  if (PUBLIC.test(c.req.path) && isSafe(c.req.method)) return { name: null, scope: "read" };
  const token = bearerOf(c) ?? getCookie(c, SESSION_COOKIE);
  if (token === undefined) throw unauthorized("Send a token: Authorization: Bearer ...");
  const entry = findToken(tokens, token);
  if (!entry) throw unauthorized("This token is not known", "invalid_token");
  if (entry.expires !== null && now >= entry.expires) {
    throw unauthorized("This token has expired", "invalid_token");
  }
  return { name: entry.name, scope: entry.scope };
}

/** The token in the header of a request. */
export function bearerOf(c: Context): string | undefined {
  return /^Bearer +([\x21-\x7e]+)$/i.exec(c.req.header("authorization") ?? "")?.[1];
}

/** Where a browser is sent that has no token, to come back to the page that it asked for. */
function signInFor(url: string): string {
  const { pathname, search } = new URL(url);
  const to = pathname + search;
  return to === "/" ? "/ui/sign-in" : `/ui/sign-in?to=${encodeURIComponent(to)}`;
}

function unauthorized(detail: string, error?: string): Problem {
  const challenge = `Bearer realm="mentor"${error === undefined ? "" : `, error="${error}"`}`;
  return new Problem(401, detail, { headers: { "www-authenticate": challenge } });
}

function isSameOrigin(origin: string, host: string): boolean {
  try {
    return new URL(origin).host === host;
  } catch {
    return false; // "null", of a page without one
  }
}
