/**
 * Server-sent events for one client.
 *
 * @module
 */

import type { EventFeed, FeedCursor } from "./event_feed.ts";

/** How often a client hears something, so that proxies keep the connection. */
const HEARTBEAT_MS = 15_000;

/** How long a client may take nothing before it is taken to be gone; it can come back. */
const STALLED_MS = 120_000;

/** How to feed a client. */
export interface StreamOptions {
  /** Ends the stream. */
  readonly signal: AbortSignal;
  /** Called once, when the client has left or has everything. */
  readonly onEnd: () => void;
}

/**
 * The events after a cursor as they come, at the client's own pace; it ends with the run. The
 * client is a reader of the feed for as long.
 */
export function eventStream(
  feed: EventFeed,
  from: FeedCursor,
  { signal, onEnd }: StreamOptions,
): ReadableStream<Uint8Array> {
  let cursor = from;
  let taken = Date.now();
  let ended = false;
  const leave = feed.join();
  const end = () => {
    if (ended) return;
    ended = true;
    leave();
    clearInterval(watch);
    signal.removeEventListener("abort", abort);
    onEnd();
  };
  let controller: ReadableStreamDefaultController<Uint8Array>;
  const abort = () => {
    if (ended) return;
    end();
    controller.close();
    feed.wake();
  };
  const watch = setInterval(() => {
    if (Date.now() - taken > STALLED_MS) abort();
  }, HEARTBEAT_MS);
  return new ReadableStream({
    start(given) {
      controller = given;
      signal.addEventListener("abort", abort);
      // The answer's head goes out with its first bytes.
      controller.enqueue(new TextEncoder().encode(": events of a run\n\n"));
      if (signal.aborted) abort();
    },
    async pull() {
      const deadline = Date.now() + HEARTBEAT_MS;
      while (!ended) {
        taken = Date.now();
        const portion = feed.next(cursor);
        // The client comes back, and gets an answer that says so.
        if (portion === "unreadable") return abort();
        if (portion) {
          cursor = portion.cursor;
          return controller.enqueue(portion.bytes);
        }
        if (feed.isDone(cursor)) return abort();
        if (taken >= deadline) return controller.enqueue(new TextEncoder().encode(":\n\n"));
        await feed.changed(deadline - taken);
      }
    },
    cancel: end,
  });
}
