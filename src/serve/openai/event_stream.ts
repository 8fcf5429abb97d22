/**
 * Server-sent events as OpenAI's clients read them.
 *
 * @module
 */

import { asApiError } from "./errors.ts";

/**
 * A response that sends each object as it comes, and `[DONE]` behind the last. An error in the midst
 * of it is sent as an object, too.
 *
 * @param request aborted where the connection is
 * @param work sends objects; its signal is aborted once the client has left
 * @param report told of errors that are not for clients
 */
export function eventStream(
  request: AbortSignal,
  work: (send: (value: unknown) => void, signal: AbortSignal) => Promise<void>,
  report: (error: unknown) => void,
): Response {
  const cancelled = new AbortController();
  const gone = AbortSignal.any([request, cancelled.signal]);
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      let waiting = "";
      const flush = () => {
        if (waiting !== "" && !gone.aborted) controller.enqueue(encoder.encode(waiting));
        waiting = "";
      };
      const write = (text: string) => {
        // Several tokens come from the GPU at a time: their events leave in one piece.
        if (waiting === "") queueMicrotask(flush);
        waiting += `data: ${text}\n\n`;
      };
      try {
        await work((value) => write(JSON.stringify(value)), gone);
        write("[DONE]");
      } catch (error) {
        if (!gone.aborted) write(JSON.stringify(asApiError(error, report)));
      }
      flush();
      if (!gone.aborted) controller.close();
    },
    cancel: () => cancelled.abort(),
  });
  return new Response(body, {
    headers: { "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store" },
  });
}
