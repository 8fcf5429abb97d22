/**
 * API-compatible subset of `@std/path`, written for this project and used where JSR can't be
 * reached; it is not the `@std` package. Deleting the `links` line of deno.json switches to the
 * real one and changes nothing else.
 *
 * @module
 */

import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Joins the segments with the platform's separator and normalises the result. */
export function join(path0: string | URL, ...paths: string[]): string {
  return path.join(path0 instanceof URL ? fromFileUrl(path0) : path0, ...paths);
}

/** The directory part of a path. */
export function dirname(path0: string | URL): string {
  return path.dirname(path0 instanceof URL ? fromFileUrl(path0) : path0);
}

/** The last segment of a path, without `suffix` where it ends with it. */
export function basename(path0: string | URL, suffix = ""): string {
  return path.basename(path0 instanceof URL ? fromFileUrl(path0) : path0, suffix);
}

/** Resolves the segments, from right to left, into an absolute path. */
export function resolve(...pathSegments: string[]): string {
  return path.resolve(...pathSegments);
}

/** The path that leads from `from` to `to`. */
export function relative(from: string, to: string): string {
  return path.relative(from, to);
}

/** The extension with its leading dot, or an empty string. */
export function extname(path0: string | URL): string {
  return path.extname(path0 instanceof URL ? fromFileUrl(path0) : path0);
}

/** Whether the path starts at a root. */
export function isAbsolute(path0: string): boolean {
  return path.isAbsolute(path0);
}

/** Removes `.` and `..` segments and doubled separators. */
export function normalize(path0: string | URL): string {
  return path.normalize(path0 instanceof URL ? fromFileUrl(path0) : path0);
}

/**
 * The path that a `file:` URL names.
 *
 * @throws {TypeError} If the URL's scheme is not `file:`.
 */
export function fromFileUrl(url: string | URL): string {
  const parsed = url instanceof URL ? url : new URL(url);
  if (parsed.protocol !== "file:") {
    throw new TypeError(`URL must be a file URL: received "${parsed.protocol}"`);
  }
  return fileURLToPath(parsed);
}

/**
 * The `file:` URL of an absolute path.
 *
 * @throws {TypeError} If the path is relative.
 */
export function toFileUrl(path0: string): URL {
  if (!path.isAbsolute(path0)) {
    throw new TypeError(`Path must be absolute: received "${path0}"`);
  }
  return pathToFileURL(path0);
}
