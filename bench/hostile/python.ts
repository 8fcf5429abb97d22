/**
 * Python with an intention, and what comes of it.
 *
 * @module
 */

import type { Hostile } from "./attack.ts";

const noModule = /ModuleNotFoundError/;
const noWay = /no way to JavaScript or out of the process/;

/** The snippets. */
export const hostilePython: readonly Hostile[] = [
  // ---- out of the process
  {
    what: "socket",
    code: "import socket\nsocket.create_connection(('1.1.1.1', 80), 1)",
    ends: ["error", "timeout"],
  },
  {
    what: "listening socket",
    code: "import socket\ns = socket.socket(); s.bind(('', 8000)); s.listen()",
    ends: "error",
  },
  {
    what: "URL",
    code: "import urllib.request\nurllib.request.urlopen('http://example.com', timeout=1)",
    ends: ["crashed", "error", "timeout"],
  },
  {
    what: "host's files",
    code: "open('/etc/passwd').read()",
    ends: "error",
    says: /FileNotFoundError/,
  },
  {
    what: "host's processes",
    code: "open('/proc/self/environ').read()",
    ends: "error",
    says: /Error/,
  },
  {
    what: "writing a file",
    code: "open('/home/x', 'w').write('x')",
    ends: "error",
    says: /Read-only/,
  },
  {
    what: "overwriting the library",
    code: "import sys\nopen([p for p in sys.path if p.endswith('zip')][0], 'r+b')",
    ends: "error",
    says: /Read-only/,
  },
  {
    what: "removing the library",
    code: "import os, sys\nos.remove([p for p in sys.path if p.endswith('zip')][0])",
    ends: "error",
    says: /PermissionError/,
  },
  {
    what: "environment",
    code:
      "import os\n'PATH' in os.environ and 'DENO_DIR' not in os.environ and 'XDG_RUNTIME_DIR' not in os.environ",
    ends: "ok",
    says: /True/,
  },
  {
    what: "subprocess",
    code: "import subprocess\nsubprocess.run(['ls'])",
    ends: "error",
    says: /OSError/,
  },
  { what: "os.system", code: "import os\nos.system('ls')", ends: "ok", says: /-1/ },
  { what: "fork", code: "import os\nos.fork()", ends: "error" },
  { what: "signal to the parent", code: "import os\nos.kill(os.getppid(), 9)", ends: "error" },
  {
    what: "signal to itself",
    code: "import signal\nsignal.raise_signal(signal.SIGKILL)",
    ends: "crashed",
  },
  {
    what: "timer signal",
    code: "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.01)",
    ends: "error",
  },
  { what: "os._exit", code: "import os\nos._exit(0)", ends: "crashed", says: noWay },
  { what: "sys.exit", code: "import sys\nsys.exit(0)", ends: "error", says: /SystemExit/ },
  { what: "abort", code: "import os\nos.abort()", ends: "crashed", says: noWay },
  // ---- JavaScript
  { what: "import js", code: "import js\njs.fetch", ends: "error", says: noModule },
  {
    what: "import js by force",
    code: "import sys\ndel sys.modules['js']\nimport js\njs.Deno",
    ends: "crashed",
    says: /Error|no way/,
  },
  {
    what: "run_js",
    code: "from pyodide.code import run_js\nrun_js('Deno.exit(0)')",
    ends: "error",
    says: noModule,
  },
  {
    what: "pyodide_js",
    code:
      "import importlib, sys\nsys.modules.pop('pyodide_js', None)\nimportlib.import_module('pyodide_js').loadPackage('micropip')",
    ends: "crashed",
  },
  {
    what: "the core module",
    code:
      "import sys\nfor name in [n for n, m in sys.modules.items() if m is None]: del sys.modules[name]\nimport _pyodide_core\n_pyodide_core.run_js('1')",
    ends: "error",
  },
  {
    what: "proxies that are left",
    code:
      "import gc\nfound = [o for o in gc.get_objects() if type(o).__name__ == 'JsProxy']\n[getattr(o, 'constructor') for o in found]",
    ends: ["ok", "error"],
  },
  { what: "micropip", code: "import micropip", ends: "error", says: noModule },
  {
    what: "foreign functions",
    code: "import ctypes\nctypes.CDLL(None).getpid()",
    ends: ["crashed", "timeout"],
  },
  {
    what: "memory out of bounds",
    code: "import ctypes\nctypes.string_at(2**32 - 16, 8)",
    ends: ["crashed", "error", "timeout"],
  },
  {
    what: "overwriting the interpreter",
    code:
      "import ctypes\nfor at in range(4096, 2**20, 64): ctypes.c_uint64.from_address(at).value = 2**64 - 1\nprint(len('x'))",
    ends: ["crashed", "error", "timeout"],
  },
  // ---- limits
  { what: "endless loop", code: "while True: pass", ends: "timeout" },
  {
    what: "endless loop that catches all",
    code: "while True:\n  try:\n    while True: pass\n  except BaseException: pass",
    ends: "timeout",
  },
  {
    what: "catastrophic regex",
    code: "import re\nre.match('(a+)+$', 'a' * 40 + 'b')",
    ends: "timeout",
  },
  { what: "huge power", code: "10 ** 10 ** 9", ends: ["timeout", "memory"] },
  {
    what: "deep recursion",
    code: "def f(): return f()\nf()",
    ends: "error",
    says: /RecursionError/,
  },
  {
    what: "deep recursion without limit",
    code: "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return [f()]\nf()",
    ends: ["crashed", "memory", "timeout"],
  },
  {
    what: "recursion in C",
    code: "a = []\nfor i in range(10**6): a = [a]\nrepr(a)",
    ends: ["error", "crashed", "timeout"],
  },
  { what: "nested parentheses", code: "eval('(' * 10**5)", ends: ["error", "memory"] },
  {
    what: "deep expression",
    code: "eval('-' * 10**5 + '1')",
    ends: ["error", "memory", "crashed"],
  },
  {
    what: "bytes bomb",
    code: "a = []\nwhile True: a.append(bytearray(10**7))",
    ends: ["memory", "timeout"],
  },
  { what: "one huge string", code: "'x' * 10**10", ends: ["memory", "error"] },
  { what: "list bomb", code: "a = [0]\nwhile True: a += a", ends: ["memory", "timeout"] },
  {
    what: "swallowed memory error",
    code: "a = []\nwhile True:\n  try:\n    a.append(bytearray(10**7))\n  except MemoryError: pass",
    ends: "timeout",
  },
  {
    what: "decompression bomb",
    code:
      "import zlib\nz = zlib.compressobj()\nd = z.compress(bytes(10**7))\nzlib.decompress(d + z.flush()) * 100",
    ends: ["memory", "timeout"],
  },
  { what: "100 MB print", code: "while True: print('x' * 1000)", ends: "output" },
  {
    what: "100 MB of errors",
    code: "import sys\nwhile True: sys.stderr.write('x' * 1000)",
    ends: "output",
  },
  {
    what: "print that swallows the limit",
    code: "while True:\n  try:\n    while True: print('x' * 1000)\n  except BaseException: pass",
    ends: "output",
  },
  { what: "a long sleep", code: "import time\ntime.sleep(10**9)", ends: "timeout" },
  {
    what: "a thread",
    code: "import threading\nthreading.Thread(target=print).start()",
    ends: "error",
    says: /can't start new thread/,
  },
  {
    what: "waiting for nothing",
    code: "import asyncio\nawait asyncio.Future()",
    ends: "error",
    says: /never happens/,
  },
  {
    what: "an endless task",
    code: "import asyncio\nasync def f():\n  while True: await asyncio.sleep(0)\nawait f()",
    ends: "timeout",
  },
  { what: "questions", code: "input()", ends: "error", says: /EOFError/ },
  // ---- against the next call, and against what shows the result
  { what: "a module's constant", code: "import math\nmath.pi = 3\nmath.pi", ends: "ok", says: /3/ },
  {
    what: "built-in functions",
    code: "import builtins\nbuiltins.len = lambda x: 42\nbuiltins.polluted = True\nlen([])",
    ends: "ok",
    says: /42/,
  },
  {
    what: "a built-in type",
    code:
      "import gc\ngc.get_referents(str.__dict__)[0]['upper'] = lambda self: 'polluted'\ngc.get_referents(int.__dict__)[0]['polluted'] = 1\n1",
    ends: "ok",
  },
  {
    what: "loaded modules",
    code:
      "import sys, json, types\nsys.modules['json'] = types.ModuleType('json')\nsys.modules['math'] = None\nsys.path.clear()\nsys.meta_path.clear()",
    ends: "ok",
  },
  {
    what: "settings of the interpreter",
    code:
      "import sys, gc, decimal, random, locale, warnings, os\nsys.setrecursionlimit(50)\ngc.disable()\ndecimal.getcontext().prec = 2\nrandom.seed(7)\nwarnings.simplefilter('error')\nsys.setswitchinterval(100)\nos.environ['X'] = 'y'",
    ends: "ok",
  },
  {
    what: "hooks",
    code:
      "import sys\nsys.settrace(lambda *a: 1 / 0)\nsys.setprofile(lambda *a: None)\nsys.excepthook = sys.displayhook = None\nsys.addaudithook(lambda *a: None)",
    ends: ["error", "crashed"],
  },
  {
    what: "the harness",
    code:
      "import sys\nscope = sys._getframe(1).f_globals\nscope['_show'] = scope['_describe'] = scope['json'] = None",
    ends: ["ok", "crashed"],
  },
  {
    what: "what shows the result",
    code: 'import json\njson.dumps = lambda *a: \'["ok", "forged", null]\'\n5',
    ends: ["ok", "crashed"],
  },
  {
    what: "a forged reply",
    code: 'print(\'{"nonce":"0","reply":{"status":"ok"}}\')\n6',
    ends: "ok",
    says: /6/,
  },
  {
    what: "a forged reply on the descriptors",
    code:
      'import os\nfor fd in range(1, 10):\n  try:\n    os.write(fd, b\'{"nonce":"0"}\\n\')\n  except OSError: pass\n7',
    ends: "ok",
    says: /7/,
  },
  {
    what: "closed streams",
    code:
      "import os, sys\nfor fd in range(10):\n  try:\n    os.close(fd)\n  except OSError: pass\nsys.stdout = sys.stderr = None\n8",
    ends: ["ok", "error", "crashed"],
  },
  {
    what: "the protocol's stream",
    code: "import sys, os\n(sys.stdin.read(), os.read(0, 10))",
    ends: "ok",
    says: /''/,
  },
  {
    what: "code at exit",
    code:
      "import atexit\natexit.register(lambda: print('late'))\nclass A:\n  def __del__(self):\n    while True: pass\na = A()\na.self = a\n9",
    ends: "ok",
    says: /9/,
  },
  {
    what: "a repr that loops",
    code: "class A:\n  def __repr__(self):\n    while True: pass\nA()",
    ends: "timeout",
  },
  {
    what: "a repr that lies",
    code: "class A:\n  def __repr__(self): return 7\nA()",
    ends: "error",
    says: /TypeError/,
  },
  {
    what: "an exception without a text",
    code: "class E(BaseException):\n  def __str__(self): raise E\nraise E",
    ends: "error",
  },
  {
    what: "open files",
    code: "import os\nfiles = [os.open('/home', os.O_RDONLY) for _ in range(500)]\nlen(files)",
    ends: ["ok", "error"],
  },
  {
    what: "changing the folder",
    code: "import os\nos.chdir('/tmp')",
    ends: "error",
    says: /PermissionError/,
  },
];
