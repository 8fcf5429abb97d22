/**
 * Turns of the event loop.
 *
 * @module
 */

const nothing = new Uint8Array();

/**
 * Lets the event loop turn, for less than 0.1 ms. What awaits nothing but its own work never does: timers,
 * signals, requests and the device's errors would have to wait for its end.
 *
 * A message to oneself comes with the next turn, after all that is due. But Deno looks at signals and
 * sockets only when its loop has nothing to do, or every 61st time: hence the digest, which another
 * thread makes. A timer would do, and take 2 ms.
 */
export async function turnEventLoop(): Promise<void> {
  await crypto.subtle.digest("SHA-1", nothing);
  const { port1, port2 } = new MessageChannel();
  try {
    await new Promise((resolve) => {
      port1.onmessage = resolve;
      port2.postMessage(null);
    });
  } finally {
    // Open ports would keep a process alive.
    port1.close();
    port2.close();
  }
}
