// Structural equality as `@std/assert` defines it: 0 equals -0, NaN equals NaN, constructors count.
// Internal to this stand-in: not one of its exports.

import { isDeepStrictEqual } from "node:util";

/** Whether two values are structurally equal. */
export function equal(a: unknown, b: unknown): boolean {
  return compare(a, b, new Map());
}

function compare(a: unknown, b: unknown, seen: Map<unknown, unknown>): boolean {
  if (a === b || Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (!sameConstructor(a, b)) return false;
  if (seen.get(a) === b) return true;
  seen.set(a, b);
  if (isTypedArray(a) && isTypedArray(b)) {
    if (a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) {
      if (a[i] !== b[i] && !Object.is(a[i], b[i])) return false;
    }
    return true;
  }
  if (a instanceof Map && b instanceof Map && [...a.keys()].every(isPrimitive)) {
    if (a.size !== b.size) return false;
    for (const [key, value] of a) {
      if (!b.has(key) || !compare(value, b.get(key), seen)) return false;
    }
    return true;
  }
  if (a instanceof URL && b instanceof URL) return a.href === b.href;
  // Errors, plain objects and class instances are compared by their own enumerable properties.
  if (!Array.isArray(a) && !isRecordLike(a)) return isDeepStrictEqual(a, b);
  const keys = [...Object.keys(a), ...Object.getOwnPropertySymbols(a)];
  if (keys.length !== Object.keys(b).length + Object.getOwnPropertySymbols(b).length) return false;
  if (Array.isArray(a) && a.length !== (b as unknown[]).length) return false;
  return keys.every((key) =>
    Object.hasOwn(b, key) && compare(Reflect.get(a, key), Reflect.get(b, key), seen)
  );
}

function sameConstructor(a: object, b: object): boolean {
  return (a.constructor ?? Object) === (b.constructor ?? Object);
}

function isTypedArray(x: object): x is object & ArrayLike<number | bigint> {
  return ArrayBuffer.isView(x) && !(x instanceof DataView);
}

function isPrimitive(x: unknown): boolean {
  return (typeof x !== "object" && typeof x !== "function") || x === null;
}

function isRecordLike(x: object): boolean {
  return Object.prototype.toString.call(x) === "[object Object]";
}
