/**
 * A tool that converts between units by their definitions.
 *
 * @module
 */

import { withoutDust } from "./calculator.ts";
import { type Tool, tool } from "./tool.ts";

/** A unit is worth `factor` of its kind's base unit, and counts from `zero` of these on. */
interface Unit {
  readonly kind: string;
  readonly factor: number;
  readonly zero: number;
}

/** In kilograms. */
const POUND = 0.45359237;
/** In litres. */
const GALLON = 3.785411784;
const IMPERIAL_GALLON = 4.54609;
/** Where ice melts, in kelvin. */
const ICE = 273.15;

type Definition = readonly [names: string, factor: number, zero?: number];

/** By kind and symbol: other names, and what the unit is worth. */
const definitions: Readonly<Record<string, Readonly<Record<string, Definition>>>> = {
  length: {
    mm: ["millimeter millimetre", 0.001],
    cm: ["centimeter centimetre", 0.01],
    m: ["meter metre", 1],
    km: ["kilometer kilometre", 1000],
    in: ["inch inches", 0.0254],
    ft: ["foot feet", 0.3048],
    yd: ["yard", 0.9144],
    mi: ["mile", 1609.344],
    nmi: ["nautical_mile", 1852],
  },
  mass: {
    mg: ["milligram", 1e-6],
    g: ["gram", 0.001],
    kg: ["kilogram", 1],
    t: ["tonne", 1000],
    oz: ["ounce", POUND / 16],
    lb: ["pound lbs", POUND],
    st: ["stone", 14 * POUND],
    short_ton: ["", 2000 * POUND],
  },
  volume: {
    ml: ["milliliter millilitre", 0.001],
    cl: ["centiliter centilitre", 0.01],
    l: ["liter litre", 1],
    m3: ["cubic_meter cubic_metre", 1000],
    tsp: ["teaspoon", GALLON / 768],
    tbsp: ["tablespoon", GALLON / 256],
    fl_oz: ["fluid_ounce", GALLON / 128],
    cup: ["", GALLON / 16],
    pt: ["pint", GALLON / 8],
    qt: ["quart", GALLON / 4],
    gal: ["gallon", GALLON],
    imp_pt: ["imperial_pint", IMPERIAL_GALLON / 8],
    imp_gal: ["imperial_gallon", IMPERIAL_GALLON],
  },
  area: {
    cm2: ["square_centimeter square_centimetre", 1e-4],
    m2: ["square_meter square_metre", 1],
    ha: ["hectare", 1e4],
    km2: ["square_kilometer square_kilometre", 1e6],
    in2: ["square_inch square_inches", 0.0254 ** 2],
    ft2: ["square_foot square_feet", 0.3048 ** 2],
    acre: ["", 4046.8564224],
    mi2: ["square_mile", 1609.344 ** 2],
  },
  speed: {
    "m/s": ["mps", 1],
    "km/h": ["kmh kph", 1 / 3.6],
    mph: ["mi/h", 0.44704],
    kn: ["knot", 1852 / 3600],
    "ft/s": ["fps", 0.3048],
  },
  time: {
    ms: ["millisecond", 0.001],
    s: ["second sec", 1],
    min: ["minute", 60],
    h: ["hour hr", 3600],
    day: ["d", 86_400],
    week: ["wk", 604_800],
  },
  data: {
    bit: ["", 0.125],
    byte: ["B", 1],
    kbit: ["kilobit", 125],
    Mbit: ["megabit", 125_000],
    Gbit: ["gigabit", 125_000_000],
    kB: ["kilobyte", 1e3],
    MB: ["megabyte", 1e6],
    GB: ["gigabyte", 1e9],
    TB: ["terabyte", 1e12],
    KiB: ["kibibyte", 2 ** 10],
    MiB: ["mebibyte", 2 ** 20],
    GiB: ["gibibyte", 2 ** 30],
    TiB: ["tebibyte", 2 ** 40],
  },
  temperature: {
    K: ["kelvin", 1],
    C: ["celsius c \u00b0C", 1, ICE],
    F: ["fahrenheit f \u00b0F", 5 / 9, ICE - 32 * 5 / 9],
  },
};

/** Units by symbol and by other names, these in the plural, too. */
const units: ReadonlyMap<string, Unit> = new Map(
  Object.entries(definitions).flatMap(([kind, own]) =>
    Object.entries(own).flatMap(([symbol, [names, factor, zero = 0]]) =>
      namesOf(symbol, names).map((name): [string, Unit] => [name, { kind, factor, zero }])
    )
  ),
);

/** What a model is told of a unit that there is not. */
const symbols = Object.entries(definitions)
  .map(([kind, own]) => `${kind}: ${Object.keys(own).join(" ")}`).join("; ");

function namesOf(symbol: string, names: string): string[] {
  const words = names.split(" ").filter((name) => name !== "");
  const plurals = [symbol, ...words].filter((name) => /[a-z]{3}$/.test(name));
  return [symbol, ...words, ...plurals.map((name) => `${name}s`)];
}

/** `convert value from to` */
const convert = tool({
  name: "convert",
  description:
    "Converts a value between units of length, mass, volume, area, speed, time, data or temperature, " +
    "such as km, lb, gal, mph, MiB or F",
  parameters: {
    type: "object",
    properties: {
      value: { type: "number" },
      from: { type: "string", description: "Unit of the value" },
      to: { type: "string", description: "Unit of the result" },
    },
    required: ["value", "from", "to"],
    additionalProperties: false,
  },
  execute(args) {
    const [value, from, to] = [args.value as number, args.from as string, args.to as string];
    const [source, target] = [unitNamed(from), unitNamed(to)];
    if (source.kind !== target.kind) {
      throw new RangeError(
        `cannot convert ${from}, a unit of ${source.kind}, to ${to}, one of ${target.kind}`,
      );
    }
    const base = value * source.factor + source.zero;
    if (source.kind === "temperature" && withoutDust(base) < 0) {
      throw new RangeError(`there is no temperature of ${value} ${from}`);
    }
    return withoutDust((base - target.zero) / target.factor);
  },
});

function unitNamed(name: string): Unit {
  const found = units.get(name) ?? units.get(name.toLowerCase().replaceAll(/[ -]/g, "_"));
  if (found) return found;
  throw new RangeError(`no unit ${name}; there are ${symbols}`);
}

/** What converts units. */
export const unitTools: readonly Tool[] = [convert];
