/**
 * Runs Python: Pyodide behind a {@linkcode installGate | gate}, whose memory is put back after
 * each call.
 *
 * @module
 */

import { type Gate, installGate, Refused } from "./gate.ts";
import { type Interpreter, type Reply, type Request, serve } from "./loop.ts";
import { chance, loadPyodide, type Pyodide } from "./pyodide.ts";

/** What the parent says at the start. */
export interface PythonSetup {
  /** Folder of the package pyodide. */
  readonly folder: string;
  /** File with the memory of an interpreter that has loaded harness.py. */
  readonly snapshot: string;
  readonly memoryBytes: number;
  readonly outputBytes: number;
}

/** What is said of code that has overridden what the harness needs. */
const BROKEN = ["crashed", null, "the code broke what tells its result"] as const;

/** Py_eval_input: one expression. */
const EXPRESSION = 258;

/** Bytes that the memory may have grown by before a process is replaced: it never shrinks. */
const GROWTH = 64 * 2 ** 20;

/** The engine compiles what is called for the first time: this goes the usual ways ahead of calls. */
const WARM_UP = `import json, math, re
class A:
    def f(self, x): return int(x) / 0
print(f"{math.sqrt(2):.3f}", json.dumps({"a": [x * 2.5 for x in range(3)]}), re.findall("b+", "abb"))
A().f("1")`;

async function open(setup: PythonSetup): Promise<Interpreter> {
  let pyodide: Pyodide | null = null;
  const gate = installGate(setup, () => pyodide!._module.HEAPU8);
  pyodide = await loadPyodide(setup.folder, Deno.readFileSync(setup.snapshot));
  return new Python(pyodide, gate, setup.outputBytes);
}

/** An interpreter that is as new before every call. */
class Python implements Interpreter {
  readonly #python: Pyodide["_module"];
  readonly #gate: Gate;
  readonly #outputBytes: number;
  /** Address of the names of harness.py. */
  readonly #scope: number;
  readonly #image: Uint8Array;

  constructor({ _module: python }: Pyodide, gate: Gate, outputBytes: number) {
    this.#python = python;
    this.#gate = gate;
    this.#outputBytes = outputBytes;
    const name = python.stringToNewUTF8("_harness");
    this.#scope = python._PyModule_GetDict(python._PyImport_AddModule(name));
    if (this.#evaluate("seal()") === null) throw new Error("the harness does not start");
    // Above the end of the heap there is nothing yet.
    this.#image = python.HEAPU8.slice(0, python._sbrk(0));
    this.#run(WARM_UP);
    this.reset();
  }

  run({ before, code }: Request): Reply {
    for (const piece of before) this.#run(piece);
    return this.#run(code);
  }

  #run(code: string): Reply {
    this.#gate.shut();
    try {
      const result = this.#evaluate(`run(${JSON.stringify(code)}, ${this.#outputBytes})`);
      const [status, value, error] = result === null ? BROKEN : JSON.parse(result);
      return { status, value, error, ...this.#rest() };
    } catch (problem) {
      if (!(problem instanceof Refused)) {
        const error = `the interpreter broke down: ${(problem as Error).message}`;
        return { status: "crashed", value: null, error, ...this.#rest() };
      }
      const { status, message } = problem;
      return { status, value: null, error: message, ...this.#rest() };
    } finally {
      this.#gate.open();
    }
  }

  #rest(): Pick<Reply, "stdout" | "spent"> {
    const spent = this.#python.HEAPU8.length > this.#image.length + GROWTH;
    return { stdout: this.#gate.output(), spent };
  }

  /** Heals what broke down, too: an instance has no other state than its memory and the gate's. */
  reset(): void {
    const { HEAPU8 } = this.#python;
    HEAPU8.set(this.#image);
    HEAPU8.fill(0, this.#image.length);
    chance.reset();
  }

  /** The text that an expression over the names of the harness gives; null if it fails. */
  #evaluate(expression: string): string | null {
    const python = this.#python;
    const code = python.stringToNewUTF8(expression);
    const result = python._PyRun_StringFlags(code, EXPRESSION, this.#scope, this.#scope, 0);
    python._free(code);
    if (result === 0) return null;
    const text = python._PyUnicode_AsUTF8(result);
    return text === 0 ? null : python.UTF8ToString(text);
  }
}

await serve(open);
