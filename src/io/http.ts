/**
 * What clients of a server read off its answers and off failures to reach it.
 *
 * @module
 */

/**
 * Milliseconds from a `Retry-After` header, which has seconds or a date.
 *
 * @param now milliseconds since 1970
 * @returns null if there is none that can be read
 */
export function retryAfter(headers: Headers, now: number): number | null {
  const value = headers.get("retry-after");
  if (value === null) return null;
  const wait = /^\d+(\.\d+)?$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isNaN(wait) ? null : Math.max(0, wait);
}

/** What is behind an error: fetch itself says no more than that it failed. */
export function rootMessage(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? rootMessage(cause) : message;
}
