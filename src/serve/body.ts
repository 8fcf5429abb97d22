/**
 * Reading what a request carries: JSON of a bounded size and depth, checked by a schema.
 *
 * @module
 */

import type { Context } from "hono";
import * as v from "valibot";
import { BodyError, jsonDepth, requestText } from "../io/http.ts";
import { type FieldError, Problem } from "./problem.ts";

/** Bytes of a body. */
export const MAX_BODY = 2 ** 20;

/** Objects and lists within each other; a config has 2. */
const MAX_DEPTH = 32;

/**
 * The JSON object that a request carries.
 *
 * @throws {Problem} 415 if it is of another type, 413 if it is too long, 408 if it takes too long, 400
 * if it is no JSON object or nested too deeply
 */
export async function readJson(c: Context): Promise<Record<string, unknown>> {
  if (!isJson(c.req.header("content-type"))) throw notJson();
  const text = await readText(c);
  if (jsonDepth(text) > MAX_DEPTH) {
    throw new Problem(400, `The body is nested more than ${MAX_DEPTH} levels deep`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Problem(400, `The body is not JSON: ${(error as Error).message}`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new Problem(400, "The body is not a JSON object");
}

/**
 * The JSON object that a request carries, if it is what a schema says.
 *
 * @throws {Problem} as {@linkcode readJson} does, and 400 with every field that is not valid
 */
export async function readValid<T extends v.GenericSchema>(
  c: Context,
  schema: T,
): Promise<v.InferOutput<T>> {
  const { success, output, issues } = v.safeParse(schema, await readJson(c));
  if (success) return output;
  throw invalid("The request", issues.map(toFieldError));
}

/**
 * Sees to it that an action, which needs no body, does not come from a form of a page.
 *
 * @throws {Problem} 415 if something else than JSON came with it
 */
export async function readNothing(c: Context): Promise<void> {
  const type = c.req.header("content-type");
  if (type === undefined ? await readText(c) === "" : isJson(type)) return;
  throw notJson();
}

/** For a validator of `hono-openapi`: refuses with what is wrong, and does not send the input back. */
export function refuseInvalid(
  result: { readonly success: boolean; readonly error?: readonly unknown[] },
): void {
  if (result.success) return;
  const issues = result.error as readonly v.BaseIssue<unknown>[];
  throw invalid("The request", issues.map(toFieldError));
}

/** The answer to what a schema refuses. */
export function invalid(what: string, errors: readonly FieldError[]): Problem {
  const [first] = errors;
  return new Problem(400, `${what} cannot be used: ${first?.message ?? "it is not valid"}`, {
    errors,
  });
}

function toFieldError(issue: v.BaseIssue<unknown>): FieldError {
  const path = (issue.path ?? []).map(({ key }) => String(key)).join(".");
  return { path, message: `${path}: ${issue.message}` };
}

/** What a request carries, as text. @throws {Problem} 413 if it is too long, 408 if it takes long */
async function readText(c: Context): Promise<string> {
  const text = await requestText(c.req.raw, MAX_BODY).catch((error) => {
    throw error instanceof BodyError ? new Problem(error.status, error.message) : error;
  });
  if (text === null) throw new Problem(413, `The body has more than ${MAX_BODY} bytes`);
  return text;
}

function isJson(type: string | undefined): boolean {
  return (type ?? "").split(";")[0]!.trim().toLowerCase() === "application/json";
}

function notJson(): Problem {
  return new Problem(415, "Send JSON: Content-Type: application/json");
}
