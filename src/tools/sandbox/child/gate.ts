/**
 * The gate between Python and everything outside of its memory.
 *
 * Python runs in a WebAssembly instance, and all that it can touch beside its own linear memory are
 * the functions that the instance imports. While a call runs, this file lets through those of
 * them that change nothing outside (reading the library, asking for the time) and refuses the rest:
 * JavaScript, files to write, sockets, signals. So the memory is all the state that a call has, and
 * putting it back as it was makes every call the first.
 *
 * @module
 */

/** What the parent said about limits. */
export interface GateLimits {
  /** Longest output of a call, in bytes. */
  readonly outputBytes: number;
  /** Most memory of the instance, in bytes. */
  readonly memoryBytes: number;
}

/** Where the outside begins. */
export interface Gate {
  /** From here on only the harmless functions work. */
  shut(): void;
  /** Everything works again; what the call left open is closed, and the stack is empty. */
  open(): void;
  /** What was printed since it was shut. */
  output(): string;
}

/** Thrown through the interpreter, which leaves its memory in the middle of something. */
export class Refused extends Error {
  /** Tells this error from others. */
  override name = "Refused";
  /** How the call ends. */
  readonly status: "output" | "crashed";

  /** Says how the call ends and why. */
  constructor(status: Refused["status"], message: string) {
    super(message);
    this.status = status;
  }
}

/** Functions that answer from memory or from the read-only library. */
const HARMLESS = new Set([
  ...["clock_time_get", "clock_res_get", "emscripten_date_now", "emscripten_get_now"],
  ...["_gmtime_js", "_localtime_js", "_mktime_js", "_timegm_js", "_tzset_js"],
  ...["random_get", "environ_get", "environ_sizes_get", "emscripten_get_heap_max"],
  ...["__syscall_getcwd", "__syscall_stat64", "__syscall_lstat64", "__syscall_newfstatat"],
  ...["__syscall_faccessat", "__syscall_readlinkat", "__syscall_getuid32_js"],
  ...["can_run_sync_js", "_Py_emscripten_runtime", "_Py_CheckEmscriptenSignals_Helper"],
  ...["_PyEM_TrampolineCall_JS", "JsvError_Check", "Jsv_GetError_import"],
]);

/** Functions that take an open file first. */
const OF_OWN_FILES = new Set([
  ...["fd_read", "fd_seek", "fd_pread", "fd_fdstat_get", "__syscall_fstat64"],
  ...["__syscall_getdents64"],
]);

/** What functions return that have ways of their own to fail: no such address, no shell. */
const FAILURES: Readonly<Record<string, number>> = {
  getaddrinfo: -4,
  getnameinfo: -4,
  getprotobyname: 0,
  _emscripten_system: -1,
};

/** Numbers of errors, as WASI has them. */
const errno = { badFile: 8, notPermitted: 63, readOnly: 69 } as const;

/** Bits of open(2) that change a file or make one. */
const WRITES = 0o1 | 0o2 | 0o100 | 0o1000;

type Import = (...args: never[]) => unknown;
type Imports = Record<string, Record<string, unknown>>;

/**
 * Puts the gate around the next instance whose imports are those of Emscripten.
 *
 * @param memory the instance's memory, once there is one
 */
export function installGate(limits: GateLimits, memory: () => Uint8Array<ArrayBuffer>): Gate {
  let closed = false;
  const files = new Set<number>();
  let chunks: Uint8Array[] = [];
  let printed = 0;
  let closeFile: (file: number) => unknown = () => 0;
  let stack: WebAssembly.Global | null = null;
  let top = 0;

  const print = (vectors: number, count: number, written: number): number => {
    const bytes = memory();
    const view = new DataView(bytes.buffer);
    let total = 0;
    for (let i = 0; i < count; i++) {
      const at = view.getUint32(vectors + 8 * i, true);
      const length = view.getUint32(vectors + 8 * i + 4, true);
      total += length;
      chunks.push(bytes.slice(at, at + Math.min(length, limits.outputBytes - printed)));
      printed += length;
      if (printed > limits.outputBytes) {
        throw new Refused("output", `more than ${limits.outputBytes} bytes were printed`);
      }
    }
    view.setUint32(written, total, true);
    return 0;
  };

  /** What stands in for an import while a call runs; null leaves it as it is. */
  const guarded = (name: string, original: Import): Import | null => {
    // Numbers, and pointers into the memory; never objects.
    const call = original as unknown as (...args: number[]) => number;
    if (HARMLESS.has(name)) return null;
    if (OF_OWN_FILES.has(name)) {
      const bad = name.startsWith("fd_") ? errno.badFile : -errno.badFile;
      return (...args: number[]) => files.has(args[0]!) || args[0] === 0 ? call(...args) : bad;
    }
    switch (name) {
      case "fd_write":
        return (file: number, vectors: number, count: number, written: number) =>
          file === 1 || file === 2 ? print(vectors, count, written) : errno.badFile;
      case "__syscall_openat":
        return (folder: number, path: number, flags: number, mode: number) => {
          if (flags & WRITES) return -errno.readOnly;
          const file = call(folder, path, flags, mode);
          if (file >= 0) files.add(file);
          return file;
        };
      case "fd_close":
        closeFile = call;
        return (file: number) => files.delete(file) ? call(file) : errno.badFile;
      case "emscripten_resize_heap":
        return (bytes: number) => bytes >>> 0 <= limits.memoryBytes ? call(bytes) : 0;
    }
    if (name in FAILURES) return () => FAILURES[name];
    if (name.startsWith("fd_")) return () => errno.notPermitted;
    if (/^__syscall_|^_(mmap|munmap|msync|setitimer)_js$/.test(name)) {
      return () => -errno.notPermitted;
    }
    return () => {
      throw new Refused("crashed", "Python has no way to JavaScript or out of the process here");
    };
  };

  const guard = (module: WebAssembly.Module, imports: Imports): Imports => {
    // The other spaces make their globals when they are asked for them.
    const result: Imports = { ...imports };
    for (const { module: space, name, kind } of WebAssembly.Module.imports(module)) {
      const original = imports[space]![name];
      if (kind !== "function" || typeof original !== "function") continue;
      const substitute = guarded(name, original as Import);
      if (substitute === null) continue;
      if (result[space] === imports[space]) result[space] = { ...imports[space] };
      result[space]![name] = (...args: never[]) => (closed ? substitute : original)(...args);
    }
    return result;
  };

  const { instantiate } = WebAssembly;
  WebAssembly.instantiate = (async (source: BufferSource, imports?: Imports) => {
    if (!imports?.env) return await instantiate(source, imports as WebAssembly.Imports);
    WebAssembly.instantiate = instantiate;
    const module = await WebAssembly.compile(source);
    const guardedImports = guard(module, imports) as WebAssembly.Imports;
    const instance = await instantiate(module, guardedImports);
    stack = instance.exports.__stack_pointer as WebAssembly.Global;
    return { module, instance };
  }) as typeof instantiate;

  return {
    shut() {
      chunks = [];
      printed = 0;
      closed = true;
      top = stack!.value;
    },
    open() {
      closed = false;
      stack!.value = top;
      for (const file of files) closeFile(file);
      files.clear();
    },
    output() {
      const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
      let at = 0;
      for (const chunk of chunks) {
        bytes.set(chunk, at);
        at += chunk.length;
      }
      return new TextDecoder().decode(bytes);
    },
  };
}
