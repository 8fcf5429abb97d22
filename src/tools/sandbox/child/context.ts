/**
 * V8 contexts that know nothing but the language.
 *
 * A context has no object in common with the realm that makes it, nor with the next one: only
 * primitive values pass between them, `import()` is refused there, and no function of the host is in
 * its reach.
 *
 * @module
 */

import vm from "node:vm";
import { frozen } from "./frozen.ts";
import { furnish, type Realm } from "./realm.ts";

/** A new context, and the way to speak to it. */
export interface Room {
  readonly context: vm.Context;
  readonly realm: Realm;
}

/**
 * How to make furnished contexts.
 *
 * @param inspect text of the CommonJS module object-inspect, which writes values
 * @param outputChars longest output and value
 */
export function roomMaker(inspect: string, outputChars: number): () => Room {
  // Everything in there is evaluated in there.
  const inspection = new vm.Script(
    `((module) => { const require = () => ({}); ${inspect}; return module.exports; })({})`,
  );
  const furnishing = new vm.Script(
    `(inspect, chars) => (${furnish})(inspect, (${frozen})(), chars)`,
  );
  return () => {
    const context = vm.createContext(vm.constants.DONT_CONTEXTIFY);
    const realm = furnishing.runInContext(context)(inspection.runInContext(context), outputChars);
    return { context, realm };
  };
}
