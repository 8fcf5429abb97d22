/**
 * What clients read off answers and off failures to reach a server, and servers off requests.
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

/**
 * What a request carries, as text.
 *
 * @param most bytes
 * @returns null if it is longer, of which no more was read than that
 */
export async function requestText(request: Request, most: number): Promise<string | null> {
  if (Number(request.headers.get("content-length") ?? 0) > most) return null;
  const decoder = new TextDecoder();
  let text = "";
  let read = 0;
  for await (const chunk of request.body ?? []) {
    read += chunk.length;
    if (read > most) return null;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** How deeply brackets are nested outside of strings, whether or not the rest is JSON. */
export function jsonDepth(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let i = 0, quoted = false; i < text.length; i++) {
    const char = text[i]!;
    if (char === '"') quoted = !quoted;
    else if (quoted) i += char === "\\" ? 1 : 0;
    else if (char === "{" || char === "[") deepest = Math.max(deepest, ++depth);
    else if (char === "}" || char === "]") depth--;
  }
  return deepest;
}
