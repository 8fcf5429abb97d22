/**
 * JavaScript with an intention, and what comes of it.
 *
 * @module
 */

import type { Hostile } from "./attack.ts";

const missing = (name: string) => new RegExp(`${name} is not defined`);
const noImport = /dynamic import callback/;

/** The snippets. */
export const hostileJavascript: readonly Hostile[] = [
  // ---- out of the process
  {
    what: "network",
    code: "await fetch('http://example.com')",
    ends: "error",
    says: missing("fetch"),
  },
  {
    what: "files",
    code: "Deno.readTextFileSync('/etc/passwd')",
    ends: "error",
    says: missing("Deno"),
  },
  { what: "environment", code: "process.env", ends: "error", says: missing("process") },
  {
    what: "subprocess",
    code: "new Deno.Command('sh').spawn()",
    ends: "error",
    says: missing("Deno"),
  },
  {
    what: "foreign functions",
    code: "Deno.dlopen('libc.so.6', {})",
    ends: "error",
    says: missing("Deno"),
  },
  {
    what: "signal to the parent",
    code: "process.kill(process.ppid, 'SIGKILL')",
    ends: "error",
    says: missing("process"),
  },
  { what: "exit", code: "Deno.exit(0)", ends: "error", says: missing("Deno") },
  {
    what: "WebGPU",
    code: "await navigator.gpu.requestAdapter()",
    ends: "error",
    says: missing("navigator"),
  },
  { what: "caches", code: "await caches.open('x')", ends: "error", says: missing("caches") },
  {
    what: "localStorage",
    code: "localStorage.setItem('x', 'y')",
    ends: "error",
    says: missing("localStorage"),
  },
  {
    what: "writing to stdout",
    code: "process.stdout.write('{}\\n')",
    ends: "error",
    says: missing("process"),
  },
  {
    what: "writing to fd 3",
    code: "Deno.openSync('/dev/fd/3', { write: true })",
    ends: "error",
    says: missing("Deno"),
  },
  // ---- modules
  { what: "require", code: "require('node:fs')", ends: "error", says: missing("require") },
  { what: "import node:", code: "await import('node:fs')", ends: "error", says: noImport },
  { what: "import npm:", code: "await import('npm:left-pad')", ends: "error", says: noImport },
  {
    what: "import https:",
    code: "await import('https://example.com/x.js')",
    ends: "error",
    says: noImport,
  },
  {
    what: "import file:",
    code: "await import('file:///etc/passwd')",
    ends: "error",
    says: noImport,
  },
  {
    what: "import data:",
    code: "await import('data:text/javascript,export default 1')",
    ends: "error",
    says: noImport,
  },
  { what: "import blob:", code: "await import('blob:null/1')", ends: "error", says: noImport },
  {
    what: "import in eval",
    code: "await eval(\"import('node:fs')\")",
    ends: "error",
    says: noImport,
  },
  {
    what: "the refusal's realm",
    code: "import('x').catch((e) => e.constructor.constructor('return typeof Deno')())",
    ends: "ok",
    says: /'undefined'/,
  },
  {
    what: "import statement",
    code: "import fs from 'node:fs';",
    ends: "error",
    says: /SyntaxError/,
  },
  { what: "import.meta", code: "import.meta.url", ends: "error", says: /SyntaxError/ },
  // ---- the host's realm
  {
    what: "eval",
    code: "eval('typeof Deno + typeof process')",
    ends: "ok",
    says: /'undefinedundefined'/,
  },
  {
    what: "Function constructor",
    code: "(() => {}).constructor('return typeof Deno')()",
    ends: "ok",
    says: /'undefined'/,
  },
  {
    what: "console's constructor",
    code: "console.log.constructor('return typeof Deno')()",
    ends: "ok",
    says: /'undefined'/,
  },
  {
    what: "a timer's this",
    code:
      "await new Promise((r) => setTimeout(function () { r(this === undefined || typeof this.Deno); }))",
    ends: "ok",
    says: /true|'undefined'/,
  },
  {
    what: "stack trace hook",
    code: "Error.prepareStackTrace = (e, sites) => sites; const s = new Error('x').stack; typeof s",
    ends: "ok",
    says: /'string'/,
  },
  {
    what: "stack trace hook of a replaced Error",
    code:
      "globalThis.Error = { prepareStackTrace: (e, s) => s }; let s; try { null.x } catch (e) { s = e.stack } typeof s",
    ends: "ok",
    says: /'string'/,
  },
  {
    what: "callers",
    code: "function f() { return f.caller } typeof f()",
    ends: "ok",
    says: /'object'/,
  },
  {
    what: "the resolver of a thenable",
    code: "await { then(resolve) { resolve(resolve.constructor('return typeof Deno')()); } }",
    ends: "ok",
    says: /'undefined'/,
  },
  {
    what: "a thenable as value",
    code: "({ then(resolve) { resolve(1); for (;;); } })",
    ends: "ok",
  },
  // ---- limits
  { what: "endless loop", code: "for (;;);", ends: "timeout" },
  { what: "catastrophic regex", code: "/^(a+)+$/.test('a'.repeat(40) + 'b')", ends: "timeout" },
  {
    what: "deep recursion",
    code: "const f = () => f() + 1; f()",
    ends: "error",
    says: /Maximum call stack/,
  },
  {
    what: "deep value",
    code: "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; a",
    ends: ["ok", "error"],
  },
  {
    what: "long sparse array",
    code: "new Array(2 ** 32 - 1)",
    ends: ["timeout", "error", "memory", "crashed"],
  },
  {
    what: "heap bomb",
    code: "const a = []; for (;;) a.push(new Array(1e6).fill(1.5))",
    ends: ["memory", "timeout"],
  },
  {
    what: "typed array bomb",
    code: "const a = []; for (;;) a.push(new Uint8Array(1e8).fill(1))",
    ends: ["memory", "timeout"],
  },
  {
    what: "string bomb",
    code: "const a = []; for (;;) a.push('x'.repeat(2 ** 20 + a.length).split(''))",
    ends: ["memory", "timeout"],
  },
  { what: "BigInt bomb", code: "let n = 7n; for (;;) n *= n", ends: ["error", "timeout"] },
  {
    what: "WebAssembly memory bomb",
    code: "new WebAssembly.Memory({ initial: 65536 })",
    ends: "error",
    says: missing("WebAssembly"),
  },
  {
    what: "100 MB print",
    code: "for (let i = 0; i < 1e5; i++) console.log('x'.repeat(1000))",
    ends: "output",
  },
  { what: "100 MB print at once", code: "console.log('x'.repeat(1e8))", ends: "output" },
  {
    what: "print that swallows the limit",
    code: "for (;;) try { console.log('x'.repeat(1000)) } catch {}",
    ends: "timeout",
  },
  { what: "100 MB value", code: "'x'.repeat(1e8)", ends: ["ok", "memory", "timeout"] },
  // ---- what goes on after the call
  {
    what: "microtask flood",
    code: "const f = () => Promise.resolve().then(f); f(); 1",
    ends: "timeout",
  },
  { what: "async flood", code: "(async () => { for (;;) await null; })(); 1", ends: "timeout" },
  {
    what: "timer that loops after the call",
    code: "setTimeout(() => { for (;;); }, 1e6); 1",
    ends: "timeout",
  },
  { what: "timer without end", code: "setInterval(() => {}, 1); 1", ends: "timeout" },
  {
    what: "rejection that nobody handles",
    code: "Promise.reject(new Error('late')); 1",
    ends: "ok",
    says: /1/,
  },
  {
    what: "promise that never settles",
    code: "await new Promise(() => {})",
    ends: "error",
    says: /never happens/,
  },
  {
    what: "worker",
    code: "new Worker('data:text/javascript,for(;;);', { type: 'module' })",
    ends: "error",
    says: missing("Worker"),
  },
  {
    what: "finalizer",
    code: "new FinalizationRegistry(() => { for (;;); })",
    ends: "error",
    says: missing("FinalizationRegistry"),
  },
  {
    what: "blocking wait",
    code: "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)",
    ends: "error",
    says: /is not defined/,
  },
  // ---- against the next call, and against what shows the result
  {
    what: "prototype pollution",
    code: "Object.prototype.polluted = 1; Array.prototype.map = () => 'polluted'; 1",
    ends: "ok",
    says: /1/,
  },
  {
    what: "frozen built-ins",
    code: "Object.freeze(Object.prototype); Object.freeze(Array.prototype); globalThis.x = 1",
    ends: "ok",
  },
  {
    what: "overridden JSON",
    code: 'JSON.stringify = () => \'{"status":"ok"}\'; JSON.parse = null; 2',
    ends: "ok",
    says: /2/,
  },
  {
    what: "overridden console and Promise",
    code: "console.log = null; globalThis.console = null; globalThis.Promise = null; 3",
    ends: "ok",
    says: /3/,
  },
  {
    what: "overridden built-ins of the inspector",
    code:
      "Array.prototype.push = null; String.prototype.slice = null; RegExp.prototype.test = null; ({ a: [1] })",
    ends: ["ok", "error"],
  },
  {
    what: "forged reply in the output",
    code: 'console.log(\'{"nonce":"0","reply":{"status":"ok"}}\'); 4',
    ends: "ok",
    says: /4/,
  },
  { what: "getter that loops", code: "({ get a() { for (;;); } })", ends: "timeout" },
  {
    what: "value that can't be shown",
    code: "new Proxy({}, { ownKeys() { throw new Error('no keys'); } })",
    ends: ["ok", "error"],
  },
  { what: "throwing what has no text", code: "throw { toString() { throw 1; } }", ends: "error" },
  {
    what: "throwing an error with a loop in it",
    code: "const e = new Error('x'); e.message = { toString() { for (;;); } }; throw e",
    ends: "timeout",
  },
];
