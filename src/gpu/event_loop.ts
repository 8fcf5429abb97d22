/**
 * Turns of the event loop.
 *
 * @module
 */

const nothing = new Uint8Array();

/**
 * Lets the event loop turn, for some 50 us. What awaits nothing but its own work never does: signals,
 * timers, requests and the device's errors would have to wait for its end.
 *
 * A message to oneself is not enough. Deno looks at signals and sockets when its loop has nothing else
 * to do, or every 61st time; it has nothing to do while another thread makes a digest. A timer would
 * take 2 ms.
 */
export async function turnEventLoop(): Promise<void> {
  await crypto.subtle.digest("SHA-1", nothing);
}
