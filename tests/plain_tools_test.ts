// Units, dates and tables: what comes out, and what is refused.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { builtInTools, toolNames } from "../src/tools/built_in.ts";
import { dateTools } from "../src/tools/dates.ts";
import { tableTools } from "../src/tools/table.ts";
import { callTool, type Tool } from "../src/tools/tool.ts";
import { unitTools } from "../src/tools/units.ts";

const calling =
  (tools: readonly Tool[], world?: unknown) => async (name: string, args: unknown) => {
    const tool = tools.find((one) => one.name === name)!;
    const outcome = await callTool(tool, args as Record<string, unknown>, { world });
    return outcome.status === "ok" ? outcome.result : outcome.text;
  };

Deno.test("every built-in name has tools, and no two tools have one name", () => {
  const names = toolNames.flatMap((name) => builtInTools(name)!.map((tool) => tool.name));
  assertEquals(toolNames, ["calculator", "units", "dates", "table"]);
  assertEquals(new Set(names).size, names.length);
});

Deno.test("units are converted by their definitions", async () => {
  const call = calling(unitTools);
  const rows: [value: number, from: string, to: string, result: number][] = [
    [1, "in", "cm", 2.54],
    [1, "mile", "km", 1.609344],
    [6, "feet", "m", 1.8288],
    [26.2, "mi", "km", 42.1648128],
    [1, "nautical mile", "m", 1852],
    [1, "lb", "kg", 0.45359237],
    [16, "ounces", "pounds", 1],
    [1, "stone", "lb", 14],
    [1, "gal", "l", 3.785411784],
    [1, "imp_gal", "Litres", 4.54609],
    [3, "tsp", "tbsp", 1],
    [2, "cups", "pint", 1],
    [1, "m3", "l", 1000],
    [1, "acre", "ft2", 43560],
    [1, "km2", "ha", 100],
    [60, "mph", "km/h", 96.56064],
    [1, "knots", "km/h", 1.852],
    [36, "km/h", "m/s", 10],
    [1.5, "h", "min", 90],
    [2, "weeks", "days", 14],
    [1, "GiB", "MB", 1073.741824],
    [8, "Mbit", "MB", 1],
    [100, "C", "F", 212],
    [-40, "F", "celsius", -40],
    [0, "K", "\u00b0C", -273.15],
    [0.3, "m", "cm", 30],
  ];
  for (const [value, from, to, result] of rows) {
    assertEquals(await call("convert", { value, from, to }), result, `${value} ${from} to ${to}`);
    if (from === "K") continue;
    const back = await call("convert", { value: result, from: to, to: from }) as number;
    assert(Math.abs(back - value) <= 1e-9 * Math.abs(value), `${from} and back: ${back}`);
  }
});

Deno.test("units that are none, of two kinds or too cold are refused", async () => {
  const call = calling(unitTools);
  assertMatch(
    await call("convert", { value: 1, from: "km", to: "kg" }) as string,
    /cannot convert km, a unit of length, to kg, one of mass/,
  );
  assertMatch(
    await call("convert", { value: 1, from: "furlong", to: "m" }) as string,
    /no unit furlong; there are length: mm cm m km/,
  );
  assertMatch(await call("convert", { value: -1, from: "K", to: "C" }) as string, /no temperature/);
  // A megabyte is no millibyte.
  assertMatch(await call("convert", { value: 1, from: "mb", to: "kB" }) as string, /no unit mb/);
});

Deno.test("dates are those of the calendar, leap years and short months included", async () => {
  const call = calling(dateTools);
  const rows: [name: string, args: unknown, result: unknown][] = [
    ["add_days", { date: "2024-02-28", days: 1 }, "2024-02-29"],
    ["add_days", { date: "2023-02-28", days: 1 }, "2023-03-01"],
    ["add_days", { date: "2024-01-01", days: -1 }, "2023-12-31"],
    ["add_days", { date: "0099-12-31", days: 1 }, "0100-01-01"],
    ["add_months", { date: "2024-01-31", months: 1 }, "2024-02-29"],
    ["add_months", { date: "2023-03-31", months: -1 }, "2023-02-28"],
    ["add_months", { date: "2023-11-30", months: 14 }, "2025-01-30"],
    ["add_months", { date: "0001-02-03", months: -1 }, "0001-01-03"],
    ["days_between", { from: "2000-01-01", to: "2001-01-01" }, 366],
    ["days_between", { from: "1900-03-01", to: "1900-02-28" }, -1],
    ["weekday", { date: "1969-07-20" }, "Sunday"],
    ["weekday", { date: "2000-02-29" }, "Tuesday"],
    ["weekday", { date: "0001-01-01" }, "Monday"],
  ];
  for (const [name, args, result] of rows) {
    assertEquals(await call(name, args), result, JSON.stringify(args));
  }
});

Deno.test("what is no date is refused", async () => {
  const call = calling(dateTools);
  const dates = ["2023-02-29", "2023-13-01", "2023-00-10", "2023-01-00", "0000-01-01", "1.2.2023"];
  for (const date of [...dates, "2023-1-1", "today", "2023-04-31", ""]) {
    assertMatch(await call("weekday", { date }) as string, /no date/, date);
  }
  for (const days of [1e9, 1e15, -800_000]) {
    assertMatch(await call("add_days", { date: "2023-01-01", days }) as string, /years 1 to 9999/);
  }
  assertMatch(
    await call("add_months", { date: "2023-01-01", months: 1e9 }) as string,
    /years 1 to 9999/,
  );
});

const people = [
  { name: "Ada", age: 36, city: "London", tall: true },
  { name: "Bo", age: 25, city: "Oslo" },
  { name: "Cy", age: null, city: "Oslo" },
  { name: "Di", age: 41.5, city: "London" },
];

Deno.test("rows are filtered, sorted, picked and counted", async () => {
  const call = calling(tableTools, people);
  const query = (args: unknown) => call("query", args);
  const is = (column: string, is: string, value: unknown) => ({ column, is, value });
  const names = async (...where: unknown[]) =>
    (await query({ where, select: ["name"] }) as { name: string }[]).map(({ name }) => name);
  assertEquals(await call("columns", {}), { columns: ["name", "age", "city", "tall"], rows: 4 });
  assertEquals(await query({}), people);
  assertEquals(await names(is("city", "=", "Oslo")), ["Bo", "Cy"]);
  assertEquals(await names(is("age", ">", 30), is("city", "contains", "LON")), ["Ada", "Di"]);
  assertEquals(await names(is("age", "<=", 36)), ["Ada", "Bo"]);
  assertEquals(await names(is("age", "!=", 36)), ["Bo", "Cy", "Di"]);
  assertEquals(await names(is("age", "=", null)), ["Cy"]);
  assertEquals(await names(is("tall", "=", true)), ["Ada"]);
  assertEquals(
    await query({ sort: "age", descending: true, select: ["name", "age"], limit: 2 }),
    [{ name: "Di", age: 41.5 }, { name: "Ada", age: 36 }],
  );
  assertEquals(
    (await query({ sort: "age" }) as typeof people).map(({ name }) => name),
    ["Bo", "Ada", "Di", "Cy"],
  );
  assertEquals(await query({ aggregate: "count" }), 4);
  assertEquals(await query({ aggregate: "count", of: "age" }), 3);
  assertEquals(await query({ aggregate: "sum", of: "age" }), 102.5);
  assertEquals(
    await query({ aggregate: "mean", of: "age", where: [is("city", "=", "London")] }),
    38.75,
  );
  assertEquals(await query({ aggregate: "max", of: "age", where: [is("age", ">", 99)] }), null);
  assertEquals(await query({ aggregate: "min", of: "age", by: "city" }), [
    { city: "London", min: 36 },
    { city: "Oslo", min: 25 },
  ]);
  assertEquals(
    await query({ aggregate: "count", by: "city", sort: "count", descending: true, limit: 1 }),
    [{ city: "London", count: 2 }],
  );
});

Deno.test("a query that cannot be meant says what there is", async () => {
  const call = calling(tableTools, people);
  const rows: [args: unknown, message: RegExp][] = [
    [{ sort: "height" }, /no column height; the columns are name, age, city, tall/],
    [
      { where: [{ column: "age", is: "=", value: "36" }] },
      /column age holds 36, which is no string/,
    ],
    [{ aggregate: "sum", of: "city" }, /column city holds "London", which is no number/],
    [{ aggregate: "sum" }, /sum of which column/],
    [{ where: [{ column: "age", is: "like", value: 1 }] }, /error/],
    // No row comes as far as to the second condition, nor to what is shown.
    [
      {
        where: [{ column: "age", is: ">", value: 99 }, { column: "towm", is: "=", value: "Oslo" }],
      },
      /no column towm/,
    ],
    [{ where: [{ column: "age", is: ">", value: 99 }], select: ["nam"] }, /no column nam/],
    [{ aggregate: "count", by: "city", sort: "age" }, /no column age; the columns are city, count/],
    [{ limit: 0 }, /error/],
  ];
  for (const [args, message] of rows) assertMatch(await call("query", args) as string, message);
  const several = calling(tableTools, { people, places: [{ name: "Oslo" }], note: "?" });
  assertEquals(await several("columns", { table: "places" }), { columns: ["name"], rows: 1 });
  assertMatch(await several("query", {}) as string, /the tables are people, places/);
  assertMatch(await several("query", { table: "x" }) as string, /no table x; the tables are/);
  assertEquals(await calling(tableTools, { people })("query", { limit: 1 }), [people[0]]);
  assertMatch(await calling(tableTools)("query", {}) as string, /there is no table/);
});

Deno.test("a table of many rows, most of which lack a column, is queried at once", async () => {
  const rows = Array.from({ length: 200_000 }, (_, i) => i === 7 ? { n: i, mark: 1 } : { n: i });
  const began = performance.now();
  const where = [{ column: "mark", is: "=", value: 1 }];
  const some = calling(tableTools, rows.slice(0, 20_000));
  assertEquals(await some("query", { where, select: ["n"] }), [{ n: 7 }]);
  assert(performance.now() - began < 5000, "it looks at all rows for each row");
  // More values than a function takes arguments.
  const call = calling(tableTools, rows);
  assertEquals(await call("query", { aggregate: "max", of: "n" }), 199_999);
});
