/**
 * A table of trees, drawn anew for every task: "height of oak plus 12". Half of the domain, the
 * largest of a column ("max age plus 12"), is held out of training.
 *
 * @module
 */

import { tool } from "../../tools/tool.ts";
import { type Domain, drawWords, fromPrompt, fromStep, type Step } from "./domain.ts";
import { arithmetic, drawChain, heldOutOperations } from "./operations.ts";

/** The columns of every table. */
export const tableColumns: readonly string[] = ["height", "age", "width", "mass"];

const rows = ("oak elm ash fir yew fig bay box pine palm pear plum lime teak cedar birch " +
  "beech maple alder aspen larch hazel holly rowan").split(" ");

/** Rows of one table. */
const ROWS = 4;

type Table = Record<string, Record<string, number>>;

const get = tool({
  name: "get",
  description: "Returns the number in a row and column of the table",
  parameters: {
    type: "object",
    properties: { row: { type: "string" }, col: { type: "string" } },
    required: ["row", "col"],
    additionalProperties: false,
  },
  execute: ({ row, col }, { world }) => {
    const { table } = world as { table: Table };
    if (!Object.hasOwn(table, row as string)) throw new RangeError(`no row ${row}`);
    const cells = table[row as string] as Record<string, number>;
    if (!Object.hasOwn(cells, col as string)) throw new RangeError(`no column ${col}`);
    return cells[col as string];
  },
});

const max = tool({
  name: "max",
  description: "Returns the largest number in a column of the table",
  parameters: {
    type: "object",
    properties: { col: { type: "string" } },
    required: ["col"],
    additionalProperties: false,
  },
  execute: ({ col }, { world }) => {
    if (!tableColumns.includes(col as string)) throw new RangeError(`no column ${col}`);
    const { table } = world as { table: Table };
    return Math.max(...Object.values(table).map((cells) => cells[col as string] as number));
  },
});

/**
 * Trained on a cell and a cell with one operation; held out: subtracting from a cell
 * (`composition`), and everything with `max` (`domain`).
 */
export const table: Domain = {
  name: "table",
  tools: [get, max, ...arithmetic.all],
  splits: ["train", "composition", "depth", "domain"],
  draw(random, split) {
    const head = split === "domain" ? "max" : "of";
    const heldOut = [["of", "minus"] as const, ...heldOutOperations];
    const words = drawWords(random, split, [head], ["plus", "minus", "times", "over"], heldOut);
    if (words === null) return null;
    const names = random.shuffle(rows).slice(0, ROWS);
    const table: Table = Object.fromEntries(
      names.map((
        row,
      ) => [row, Object.fromEntries(tableColumns.map((col) => [col, random.int(20, 400)]))]),
    );
    const row = names[0] as string;
    const col = random.pick(tableColumns);
    const first: Step = head === "max"
      ? { word: head, tool: "max", operands: { col: fromPrompt(col) } }
      : { word: head, tool: "get", operands: { row: fromPrompt(row), col: fromPrompt(col) } };
    const column = names.map((name) => table[name]?.[col] as number);
    const value = head === "max" ? Math.max(...column) : column[0] as number;
    const chain = drawChain(random, words.slice(1), value, fromStep(0), 1);
    return chain && {
      prompt: (head === "max" ? `max ${col}` : `${col} of ${row}`) + chain.text,
      plan: [first, ...chain.steps],
      world: { table },
    };
  },
};
