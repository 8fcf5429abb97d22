/**
 * Makes the memory snapshot that Python starts from. Runs in a subprocess of its own, which may read
 * the package and write the one file.
 *
 * @module
 */

import { loadPyodide } from "./pyodide.ts";

const [folder, harness, target] = Deno.args as [string, string, string];
const pyodide = await loadPyodide(folder, null);
pyodide.runPython(
  `import sys, types\nsys.modules["_harness"] = types.ModuleType("_harness")\n` +
    `exec(compile(${
      JSON.stringify(harness)
    }, "_harness", "exec"), sys.modules["_harness"].__dict__)`,
);
Deno.writeFileSync(target, pyodide.makeMemorySnapshot());
