/**
 * Code that nobody vouches for, run where it can harm nothing.
 *
 * @module
 */

/**
 * How a call ended: "error" is the code's own fault; "timeout", "memory" and "output" say which limit
 * it broke; "crashed" that it took its interpreter with it.
 */
export type SandboxStatus = "ok" | "error" | "timeout" | "memory" | "output" | "crashed";

/** What a REPL would show. */
export interface SandboxResult {
  /** How the call ended. */
  readonly status: SandboxStatus;
  /** The last expression as the language writes it; null where there is nothing to show. */
  readonly value: string | null;
  /** What was printed, errors' stream included. */
  readonly stdout: string;
  /** What went wrong, in a few lines; null where the status is "ok". */
  readonly error: string | null;
  /** Wall time of the call, in ms, without waiting for a process to be free. */
  readonly ms: number;
}

/** What a call may cost. */
export interface SandboxLimits {
  /** Wall time of a call, in ms. Waiting for a process doesn't count. Default 5000. */
  readonly timeoutMs: number;
  /** Memory that the code may take beside what its interpreter needs, in MiB. Default 256. */
  readonly memoryMiB: number;
  /** Longest output and longest value, in characters (bytes in Python). Default 65536. */
  readonly maxOutput: number;
  /** Most processes at a time. Default: one per core, at most 4. */
  readonly processes: number;
}

/** How one call is to be run. */
export interface SandboxCall {
  /** Ends the call. */
  readonly signal?: AbortSignal;
  /**
   * What ran before in the same episode, run again before the code, without its output: time and
   * chance are the same in every call, and so its state is what it was.
   */
  readonly before?: readonly string[];
  /** Wall time that `before` may take on top of the limit, in ms. Default 0. */
  readonly beforeMs?: number;
}

/** Runs code, each call in a fresh context. */
export interface Sandbox extends AsyncDisposable {
  /**
   * Runs code. Whatever the code does ends as a result.
   *
   * @throws {ToolUnavailableError} if no process can be started
   * @throws the reason of `signal` if the caller aborts
   */
  run(code: string, call?: SandboxCall): Promise<SandboxResult>;
}

/**
 * Fills in the defaults.
 *
 * @throws {RangeError} if a limit is out of range
 */
export function sandboxLimits(given: Partial<SandboxLimits>): SandboxLimits {
  const limits = {
    timeoutMs: given.timeoutMs ?? 5000,
    memoryMiB: given.memoryMiB ?? 256,
    maxOutput: given.maxOutput ?? 65536,
    processes: given.processes ?? Math.min(navigator.hardwareConcurrency, 4),
  };
  const ranges = {
    timeoutMs: [10, 3_600_000],
    memoryMiB: [64, 2048],
    maxOutput: [64, 2 ** 24],
    processes: [1, 256],
  } as const;
  for (const [name, [least, most]] of Object.entries(ranges)) {
    const value = limits[name as keyof SandboxLimits];
    if (!(value >= least && value <= most && Number.isInteger(value))) {
      throw new RangeError(
        `Cannot open a sandbox: ${name} must be an integer of [${least}, ${most}], got ${value}`,
      );
    }
  }
  return limits;
}

/** Milliseconds of calls after which a process is replaced: its processor time is limited. */
export const BUSY_MS = 30_000;

/**
 * Processor seconds after which the system ends a process: more than its calls can use, in case nobody
 * is left to end it.
 */
export function cpuSeconds({ timeoutMs }: SandboxLimits): number {
  return Math.ceil(4 * (BUSY_MS + timeoutMs) / 1000);
}

/** Longest line of a reply, in characters: JSON may take six for one of output, value and error. */
export function lineChars({ maxOutput }: SandboxLimits): number {
  return 18 * maxOutput + 4096;
}
