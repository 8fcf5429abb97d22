/**
 * Who asks for memory of the JavaScript heap.
 *
 * @module
 */

import { Session } from "node:inspector";

/** Where bytes of the heap are asked for, by the innermost function. */
export interface Allocator {
  /** `name file`; what built-in functions take is their caller's. */
  readonly where: string;
  /** Bytes, what is collected later included. */
  readonly bytesPerStep: number;
}

/** Where the project's files are. */
const root = new URL("..", import.meta.url).href;
/** Allocators that are reported. */
const SHOWN = 12;

interface HeapNode {
  readonly callFrame: { readonly functionName: string; readonly url: string };
  readonly selfSize: number;
  readonly children: readonly HeapNode[];
}

/** What `work` asks of the heap, what is collected meanwhile included. */
export async function heapProfile(
  steps: number,
  work: () => Promise<void>,
): Promise<{ sampledPerStep: number; allocators: Allocator[] }> {
  const session = new Session();
  session.connect();
  const post = (method: string, params = {}) =>
    new Promise<{ profile: { head: HeapNode } }>((resolve, reject) =>
      session.post(
        method,
        params,
        (error: Error | null, result?: object) =>
          error ? reject(error) : resolve(result as { profile: { head: HeapNode } }),
      )
    );
  await post("HeapProfiler.startSampling", {
    samplingInterval: 2048,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true,
  });
  await work();
  const { profile } = await post("HeapProfiler.stopSampling");
  session.disconnect();
  const bytes = new Map<string, number>();
  // Built-in functions have no file: what they take is their caller's.
  const visit = ({ callFrame, selfSize, children }: HeapNode, caller: string) => {
    const { functionName, url } = callFrame;
    const file = url.startsWith(root) ? url.slice(root.length) : url.split("/").at(-1)!;
    const where = url === "" ? caller : `${functionName || "(anonymous)"} ${file}`;
    bytes.set(where, (bytes.get(where) ?? 0) + selfSize);
    for (const child of children) visit(child, where);
  };
  visit(profile.head, "(none)");
  const allocators = [...bytes].map(([where, sum]) => ({ where, bytesPerStep: sum / steps }))
    .sort((a, b) => b.bytesPerStep - a.bytesPerStep);
  const sampledPerStep = allocators.reduce((sum, { bytesPerStep }) => sum + bytesPerStep, 0);
  return { sampledPerStep, allocators: allocators.slice(0, SHOWN) };
}
