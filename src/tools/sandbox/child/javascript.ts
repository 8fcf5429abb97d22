/**
 * Runs JavaScript: a V8 context for each call, in a process that has no permissions. Contexts keep
 * calls apart from each other; what keeps them from the machine is the process.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import vm from "node:vm";
import type * as Acorn from "acorn";
import { type Room, roomMaker } from "./context.ts";
import { type Interpreter, type Reply, type Request, serve } from "./loop.ts";
import { awaiting } from "./top_level_await.ts";

/** What the parent says at the start. */
export interface JavascriptSetup {
  /** Text of the module acorn. */
  readonly acorn: string;
  /** Text of the CommonJS module object-inspect. */
  readonly inspect: string;
  /** Longest output and value of a call, in characters. */
  readonly outputChars: number;
}

/** Resident bytes from which on a process is replaced: calls have no use for what others left. */
const TOO_LARGE = 400e6;

/** Lets everything happen that is due. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

async function open(setup: JavascriptSetup): Promise<Interpreter> {
  const source = `data:text/javascript,${encodeURIComponent(setup.acorn)}`;
  const acorn: typeof Acorn = await import(source);
  const newRoom = roomMaker(setup.inspect, setup.outputChars);
  const { memoryUsage } = Deno;
  const { parse } = JSON;
  let ready = newRoom();
  return {
    async run({ before, code }: Request): Promise<Reply> {
      for (const piece of [...before, code]) await runPiece(piece, ready, acorn);
      const spent = memoryUsage().rss > TOO_LARGE;
      try {
        return { ...parse(ready.realm.report()), spent };
      } catch {
        const error = "the code broke what tells its result";
        return { status: "error", value: null, stdout: "", error, spent };
      }
    },
    reset() {
      ready = newRoom();
    },
  };
}

/** Runs a script, and what it leaves to be done later. */
async function runPiece(
  code: string,
  { context, realm }: Room,
  acorn: typeof Acorn,
): Promise<void> {
  realm.begin();
  let script: vm.Script;
  try {
    script = compile(code, acorn);
  } catch (error) {
    const { name, message } = error as SyntaxError;
    return realm.refuse(`${name}: ${message}${place(code, acorn)}`);
  }
  try {
    // Displaying an error means to write on the object that was thrown.
    realm.settle(script.runInContext(context, { displayErrors: false }));
  } catch (error) {
    // An error of this realm must not be seen in the other.
    if (error instanceof Error) realm.refuse(`${error.name}: ${error.message}`);
    else realm.fail(error);
  }
  do await turn(); while (realm.tick());
  if (!realm.settled()) realm.refuse("Error: it awaits what never happens");
}

/** @throws {SyntaxError} of the code as it was given */
function compile(code: string, acorn: typeof Acorn): vm.Script {
  const options = { filename: "code.js" };
  try {
    return new vm.Script(code, options);
  } catch (error) {
    const script = code.includes("await") ? awaiting(code, acorn) : null;
    if (script === null) throw error;
    return new vm.Script(script, options);
  }
}

/** Where acorn stumbles over what V8 refuses: V8 does not tell. */
function place(code: string, { parse }: typeof Acorn): string {
  try {
    parse(code, { ecmaVersion: "latest", allowAwaitOutsideFunction: true });
    return "";
  } catch (error) {
    const { loc } = error as { loc?: Acorn.Position };
    return loc ? ` (line ${loc.line})` : "";
  }
}

// Promises that nobody waits for are nobody's error.
addEventListener("unhandledrejection", (event) => event.preventDefault());
await serve(open);
