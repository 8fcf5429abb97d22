/**
 * What goes wrong with a request, as its answer says it (RFC 9457, `application/problem+json`).
 *
 * @module
 */

import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";

/** What is wrong with one field. */
export interface FieldError {
  /** The field, with dots: `rollout.prompts`. */
  readonly path: string;
  /** What is wrong, and what is allowed. */
  readonly message: string;
}

const titles: Readonly<Record<number, string>> = {
  400: "Bad request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not found",
  405: "Method not allowed",
  408: "Request timeout",
  409: "Conflict",
  413: "Content too large",
  415: "Unsupported media type",
  416: "Range not satisfiable",
  421: "Misdirected request",
  429: "Too many requests",
  500: "Internal server error",
  503: "Service unavailable",
};

/** A request cannot be served; the answer says why. */
export class Problem extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "Problem";
  /** Of the answer. */
  readonly status: ContentfulStatusCode;
  /** The status in words. */
  readonly title: string;
  /** What is wrong, field by field. */
  readonly errors: readonly FieldError[];
  /** Headers of the answer. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: ContentfulStatusCode,
    detail: string,
    { errors = [], headers = {} }: {
      errors?: readonly FieldError[];
      headers?: Readonly<Record<string, string>>;
    } = {},
  ) {
    super(detail);
    this.status = status;
    this.title = titles[status] ?? "Error";
    this.errors = errors;
    this.headers = headers;
  }
}

/** What is wrong where something was thrown; what nobody foresaw is for the log. */
export function problemOf(error: Error, c: Context): Problem {
  if (error instanceof Problem) return error;
  const problem = error instanceof HTTPException
    ? new Problem(error.status, error.message || "The request cannot be read")
    : new Problem(500, "Something went wrong in the server; its log says what");
  if (problem.status >= 500) c.set("failure", error);
  return problem;
}

/** The answer to a request that cannot be served, for programs. */
export function answerProblem(error: Error, c: Context): Response {
  const { status, title, message, errors, headers } = problemOf(error, c);
  const body = {
    type: "about:blank",
    title,
    status,
    detail: message,
    ...(errors.length > 0 ? { errors } : {}),
  };
  return c.body(JSON.stringify(body), status, {
    ...headers,
    "content-type": "application/problem+json",
  });
}
