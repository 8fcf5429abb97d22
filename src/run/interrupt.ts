/**
 * What Ctrl-C does to a run.
 *
 * @module
 */

/**
 * Calls `stop` at the first interrupt and quits at a later one. One Ctrl-C may arrive twice: from the
 * terminal, and forwarded by `deno task`.
 *
 * @returns what puts everything back as it was
 */
export function onInterrupt(stop: () => void): () => void {
  let first: number | null = null;
  const listener = () => {
    if (first === null) {
      first = Date.now();
      stop();
    } else if (Date.now() - first > 500) Deno.exit(130);
  };
  Deno.addSignalListener("SIGINT", listener);
  Deno.addSignalListener("SIGTERM", listener);
  return () => {
    Deno.removeSignalListener("SIGINT", listener);
    Deno.removeSignalListener("SIGTERM", listener);
  };
}
