/**
 * What a call's JavaScript finds in its realm: the language, a console, timers, and nothing else.
 *
 * @module
 */

import type { Frozen } from "./frozen.ts";

/** How the child speaks to a realm: primitive values go in and out, objects never leave theirs. */
export interface Realm {
  /** Begins a piece of code: what was printed before is forgotten. */
  begin(): void;
  /** Takes the value of a script; waits for it if it is a promise. */
  settle(value: unknown): void;
  /** Takes what a script threw. */
  fail(error: unknown): void;
  /** Takes a message for the code's author. */
  refuse(message: string): void;
  /** Whether the value or the error is there. */
  settled(): boolean;
  /** Lets time pass until the next timer and runs it; false if there is none. */
  tick(): boolean;
  /** The {@linkcode Reply} as JSON. */
  report(): string;
}

/**
 * Furnishes the realm in which it is evaluated. Runs before any code of a call.
 *
 * It stands on its own: its text is evaluated in that realm. Whatever it needs later it keeps, so that
 * code which overrides built-in functions fools nobody but itself.
 *
 * @param inspect writes a value as a REPL would
 * @param outputChars longest output and value
 */
export function furnish(
  inspect: (value: unknown) => string,
  { now, elapsed, skip, random, fill }: Frozen,
  outputChars: number,
): Realm {
  const { stringify } = JSON;
  const { apply, defineProperty, construct } = Reflect;
  const { Promise } = globalThis;
  const { then } = Promise.prototype;
  const global = globalThis as unknown as Record<string, unknown>;
  const define = (target: object, name: string, value: unknown) =>
    defineProperty(target, name, { value, writable: true, configurable: true });

  // What could run code after the call, look at the real clock, or take memory outside of the heap.
  for (
    const name of [
      ...["Atomics", "FinalizationRegistry", "SharedArrayBuffer", "WeakRef", "WebAssembly"],
      ...["console", "queueMicrotask"],
    ]
  ) delete global[name];
  delete (global.Temporal as { Now?: unknown } | undefined)?.Now;
  // Deno hands the objects of its own realm to this hook, and would find it here only.
  defineProperty(Error, "prepareStackTrace", { value: undefined });
  defineProperty(globalThis, "Error", { value: Error, writable: false, configurable: false });

  // ---- time and chance ----------------------------------------------------------------------------
  const RealDate = Date;
  const FrozenDate = function (...parts: []) {
    if (new.target === undefined) return new RealDate(now()).toString();
    return construct(RealDate, parts.length === 0 ? [now()] : parts, new.target);
  } as unknown as DateConstructor;
  for (const name of ["UTC", "parse"] as const) define(FrozenDate, name, RealDate[name]);
  define(FrozenDate, "now", () => now());
  defineProperty(FrozenDate, "name", { value: "Date" });
  defineProperty(FrozenDate, "length", { value: 7 });
  defineProperty(FrozenDate, "prototype", { value: RealDate.prototype, writable: false });
  define(RealDate.prototype, "constructor", FrozenDate);
  define(globalThis, "Date", FrozenDate);
  const formats = Intl.DateTimeFormat.prototype;
  const format = Object.getOwnPropertyDescriptor(formats, "format")!.get!;
  const { formatToParts } = formats;
  defineProperty(formats, "format", {
    get() {
      const bound = apply(format, this, []);
      return (date?: unknown) => bound(date === undefined ? now() : date);
    },
    configurable: true,
  });
  define(formats, "formatToParts", function (this: Intl.DateTimeFormat, date?: Date) {
    return apply(formatToParts, this, [date === undefined ? now() : date]);
  });
  define(Math, "random", () => random());
  define(globalThis, "performance", { now: () => elapsed() });
  const hex = (bytes: Uint8Array) => {
    let text = "";
    for (let i = 0; i < bytes.length; i++) text += (bytes[i]! + 256).toString(16).slice(1);
    return text;
  };
  define(globalThis, "crypto", {
    getRandomValues: (view: ArrayBufferView) => fill(view),
    randomUUID: () => {
      const bytes = fill(new Uint8Array(16));
      bytes[6] = bytes[6]! & 15 | 64;
      bytes[8] = bytes[8]! & 63 | 128;
      return hex(bytes).replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
    },
  });

  // ---- timers -------------------------------------------------------------------------------------
  interface Timer {
    readonly id: number;
    at: number;
    readonly every: number | null;
    readonly run: () => void;
  }
  let timers: Timer[] = [];
  let count = 0;
  let clock = 0;
  const add = (run: unknown, ms: unknown, every: boolean, args: unknown[]): number => {
    if (typeof run !== "function") throw new TypeError("a timer takes a function");
    const delay = typeof ms === "number" && ms > 1 ? ms : 1;
    const id = ++count;
    timers[timers.length] = {
      id,
      at: clock + delay,
      every: every ? delay : null,
      run: () => apply(run, undefined, args),
    };
    return id;
  };
  const remove = (id: unknown) => {
    const kept: Timer[] = [];
    for (let i = 0; i < timers.length; i++) {
      if (timers[i]!.id !== id) kept[kept.length] = timers[i]!;
    }
    timers = kept;
  };
  define(
    globalThis,
    "setTimeout",
    (run: unknown, ms?: unknown, ...args: unknown[]) => add(run, ms, false, args),
  );
  define(
    globalThis,
    "setInterval",
    (run: unknown, ms?: unknown, ...args: unknown[]) => add(run, ms, true, args),
  );
  define(globalThis, "clearTimeout", remove);
  define(globalThis, "clearInterval", remove);

  // ---- what the call shows ------------------------------------------------------------------------
  let piece = 0;
  let stdout = "";
  let overflow = false;
  let settled = false;
  let value: string | null = null;
  let error: string | null = null;
  let memory = false;
  const print = (...values: unknown[]) => {
    for (let i = 0; i < values.length; i++) {
      const one = values[i];
      stdout += (i > 0 ? " " : "") + (typeof one === "string" ? one : inspect(one));
    }
    stdout += "\n";
    if (stdout.length <= outputChars) return;
    stdout = stdout.slice(0, outputChars);
    overflow = true;
    throw new RangeError("too much output");
  };
  const console: Record<string, unknown> = {};
  for (const name of ["log", "info", "debug", "warn", "error", "dir", "table"]) {
    define(console, name, (...values: unknown[]) => print(...values));
  }
  define(globalThis, "console", console);

  const finish = (result: unknown) => {
    settled = true;
    try {
      value = result === undefined ? null : inspect(result);
    } catch (problem) {
      fail(problem);
    }
  };
  const fail = (thrown: unknown) => {
    settled = true;
    try {
      error = describe(thrown);
    } catch {
      error = "something was thrown that has no text";
    }
  };
  const describe = (thrown: unknown): string => {
    if (!(thrown instanceof Error)) return `Uncaught ${inspect(thrown)}`;
    const { name, message, stack } = thrown;
    memory = message === "Array buffer allocation failed";
    const text = `${name}${message === "" ? "" : `: ${message}`}`;
    const frames: string[] = [];
    for (const line of `${stack}`.split("\n")) {
      if (/^ *at .*\bcode\.js:\d/.test(line) && frames.length < 3) frames.push(line.trim());
    }
    return [text, ...frames].join("\n    ");
  };
  const cut = (text: string | null) =>
    text !== null && text.length > outputChars ? `${text.slice(0, outputChars)}...` : text;
  return {
    begin() {
      piece++;
      stdout = "";
      [overflow, settled, memory, value, error] = [false, false, false, null, null];
    },
    settle(result) {
      if (!(result instanceof Promise)) return finish(result);
      // A promise of an earlier piece may settle in a later one.
      const mine = piece;
      apply(then, result, [
        (value: unknown) => mine === piece && finish(value),
        (thrown: unknown) => mine === piece && fail(thrown),
      ]);
    },
    fail,
    refuse(message) {
      settled = true;
      error = message;
    },
    settled: () => settled,
    tick() {
      let next: Timer | undefined;
      for (let i = 0; i < timers.length; i++) {
        const one = timers[i]!;
        if (next === undefined || one.at < next.at) next = one;
      }
      if (next === undefined) return false;
      if (next.at > clock) {
        skip(next.at - clock);
        clock = next.at;
      }
      if (next.every === null) remove(next.id);
      else next.at += next.every;
      try {
        next.run();
      } catch (problem) {
        fail(problem);
      }
      return true;
    },
    report: () =>
      stringify({
        status: overflow ? "output" : memory ? "memory" : error === null ? "ok" : "error",
        value: error === null ? cut(value) : null,
        stdout,
        error: overflow ? `more than ${outputChars} characters were printed` : cut(error),
      }),
  };
}
