"""Runs code as a REPL does: its output, the value of its last expression, a short error.

Part of the memory snapshot, with the modules that it imports: they cost calls nothing.
"""

import ast
import asyncio
import base64
import bisect
import calendar
import cmath
import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import heapq
import inspect
import itertools
import json
import linecache
import math
import numbers
import operator
import random
import re
import statistics
import string
import sys
import textwrap
import time
import traceback
import types
import typing
import unicodedata
import uuid

# What leads to JavaScript or to downloads; the gate would end the process that tries.
_MISSING = ("js", "micropip", "pyodide", "pyodide_js", "pyodide.ffi", "pyodide.http",
            "pyodide.code", "pyodide.webloop", "pyodide.console", "_pyodide", "_pyodide_core")
_NAME = "<code>"
_FRAMES = 3


class _Selector:
    """Waits for nothing but time."""

    def select(self, timeout):
        if timeout is None:
            raise RuntimeError("it awaits what never happens")
        time.sleep(max(timeout, 0))
        return ()

    def close(self):
        pass


class _Loop(asyncio.BaseEventLoop):
    """An event loop without sockets."""

    def __init__(self):
        super().__init__()
        self._selector = _Selector()

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        pass


class _Policy(asyncio.events._AbstractEventLoopPolicy):
    """Makes loops of that kind."""

    _loop = None

    def get_event_loop(self):
        if self._loop is None:
            raise RuntimeError("There is no current event loop")
        return self._loop

    def set_event_loop(self, loop):
        self._loop = loop

    def new_event_loop(self):
        return _Loop()


def seal():
    """Takes away what calls can't have; happens once, when everything is loaded."""
    for name in _MISSING:
        sys.modules[name] = None
    asyncio.events._event_loop_policy = _Policy()
    asyncio.events._set_running_loop(None)
    asyncio.runners.run = asyncio.run = _asyncio_run
    sys.excepthook = sys.__excepthook__
    global _scope
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    _scope = main.__dict__
    return ""


def _asyncio_run(main, *, debug=None, loop_factory=None):
    with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)


def run(code, limit):
    """Runs a piece of code after those before it; tells its status, value and error as JSON."""
    return json.dumps(_run(code, _scope, limit))


def _run(code, scope, limit):
    """Status, value and error of one piece of code."""
    linecache.cache[_NAME] = (len(code), None, code.splitlines(True), _NAME)
    value = error = None
    try:
        value = _show(_evaluate(code, scope), limit)
        status = "ok"
    except BaseException as problem:
        status = "memory" if isinstance(problem, MemoryError) else "error"
        error = _describe(problem)[:limit]
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException as problem:
            status, value, error = "error", None, _describe(problem)[:limit]
    return status, value, error


def _evaluate(code, scope):
    """The value of the last expression; None if there is none."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(code, _NAME, "exec", flags | ast.PyCF_ONLY_AST)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    _execute(compile(tree, _NAME, "exec", flags), scope)
    if last is None:
        return None
    return _execute(compile(ast.Expression(last.value), _NAME, "eval", flags), scope)


def _execute(compiled, scope):
    if not compiled.co_flags & inspect.CO_COROUTINE:
        return eval(compiled, scope)
    return asyncio.run(eval(compiled, scope))


def _show(value, limit):
    if value is None:
        return None
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "..."


def _describe(problem):
    """The last lines of a traceback: where in the code, and what."""
    frames = [frame for frame in traceback.extract_tb(problem.__traceback__)
              if frame.filename == _NAME]
    lines = []
    for frame in frames[-_FRAMES:]:
        place = "" if frame.name == "<module>" else f" in {frame.name}"
        lines.append(f"line {frame.lineno}{place}: {frame.line}".rstrip(": "))
    lines.extend(line.rstrip() for line in traceback.format_exception_only(problem))
    return "\n".join(lines)
