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

/** What a request carries did not come whole. */
export class BodyError extends Error {
  /** Tells it from other errors where classes are not shared. */
  override name = "BodyError";
  /** Of the answer: 408 if it took too long, 400 if the client left. */
  readonly status: 400 | 408;

  constructor(status: 400 | 408, message: string) {
    super(message);
    this.status = status;
  }
}

/** Seconds that a client may take to send a body. */
const BODY_SECONDS = 30;

/**
 * What a request carries, as text.
 *
 * @param most bytes
 * @param seconds until the end of it
 * @returns null if it is longer, of which no more was read than that
 * @throws {BodyError} if it does not come whole, or not in time
 */
export async function requestText(
  request: Request,
  most: number,
  seconds = BODY_SECONDS,
): Promise<string | null> {
  if (Number(request.headers.get("content-length") ?? 0) > most) return null;
  // It is not cancelled when there is enough of it: that may end the connection before the answer.
  const reader = request.body?.getReader();
  if (!reader) return "";
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<never>((_, reject) => {
    const error = new BodyError(408, `The body did not come within ${seconds} s`);
    timer = setTimeout(() => reject(error), 1000 * seconds);
  });
  const left = (): never => {
    throw new BodyError(400, "The connection ended before the body");
  };
  const decoder = new TextDecoder();
  let text = "";
  let read = 0;
  try {
    while (true) {
      const { value, done } = await Promise.race([reader.read().catch(left), late]);
      if (done) return text + decoder.decode();
      read += value.length;
      if (read > most) return null;
      text += decoder.decode(value, { stream: true });
    }
  } finally {
    clearTimeout(timer!);
  }
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
