/**
 * API-compatible subset of `@std/cli/parse-args`, written for this project; see `mod.ts`.
 * Left out: `stopEarly`, dotted (nested) names, and the exact types of aliases.
 *
 * @module
 */

type OneOrMany<T> = T | readonly T[];

/** What {@linkcode parseArgs} is to know about the flags. */
export interface ParseOptions<
  B extends string = string,
  S extends string = string,
  C extends string = string,
  D extends Record<string, unknown> = Record<string, unknown>,
> {
  /** Puts what follows `--` under `"--"` in place of `_`. */
  "--"?: boolean;
  /** Other names of a flag. */
  alias?: Record<string, string | readonly string[]>;
  /** Flags that take no value; `true` makes that of every `--flag` without `=`. */
  boolean?: boolean | OneOrMany<B>;
  /** Flags whose value stays a string; `"_"` does it for the positional arguments. */
  string?: OneOrMany<S>;
  /** Flags that may be repeated and give an array. */
  collect?: OneOrMany<C>;
  /** Flags that `--no-flag` sets to `false`. */
  negatable?: OneOrMany<string>;
  /** Values of flags that are not given. */
  default?: D;
  /** Called with every argument that is not declared; `false` leaves it out of the result. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

type Value<K extends string, C extends string, D, T, Absent> = K extends C ? T[]
  : K extends keyof D ? T | D[K]
  : T | Absent;

/** The flags by name, and the positional arguments under `_`. */
type Args<B extends string, S extends string, C extends string, D> =
  & { [K in Exclude<B, "_">]: Value<K, C, D, boolean, never> }
  & { [K in Exclude<S, "_">]: Value<K, C, D, string, undefined> }
  & { [K in Exclude<keyof D & string, B | S>]: unknown }
  // deno-lint-ignore no-explicit-any
  & { [name: string]: [B | S | C] extends [never] ? any : unknown }
  & { _: (string | number)[]; "--"?: string[] };

/**
 * Parses command line arguments into an object of flags.
 *
 * Flags are `--name value`, `--name=value`, `-n value`, `-abc`; values that look like numbers
 * become numbers unless the flag is declared `string`.
 */
export function parseArgs<
  const B extends string = never,
  const S extends string = never,
  const C extends string = never,
  const D extends Record<string, unknown> = Record<never, unknown>,
>(args: string[], options: ParseOptions<B, S, C, D> = {}): Args<B, S, C, D> {
  return new Parser(options as ParseOptions).parse(args) as Args<B, S, C, D>;
}

class Parser {
  readonly #options: ParseOptions;
  readonly #aliases = new Map<string, Set<string>>();
  readonly #booleans: Set<string>;
  readonly #strings: Set<string>;
  readonly #collected: Set<string>;
  readonly #negatable: Set<string>;
  readonly #allBooleans: boolean;
  readonly #values: Record<string, unknown> = {};

  constructor(options: ParseOptions) {
    this.#options = options;
    for (const [name, others] of Object.entries(options.alias ?? {})) {
      const names = [name, ...list(others)];
      for (const each of names) {
        this.#aliases.set(each, new Set(names.filter((other) => other !== each)));
      }
    }
    this.#allBooleans = options.boolean === true;
    this.#booleans = this.#declared(
      typeof options.boolean === "boolean" ? undefined : options.boolean,
    );
    this.#strings = this.#declared(options.string);
    this.#collected = this.#declared(options.collect);
    this.#negatable = this.#declared(options.negatable);
  }

  parse(args: string[]): Record<string, unknown> {
    const end = args.indexOf("--");
    const rest = end < 0 ? [] : args.slice(end + 1);
    const head = end < 0 ? args : args.slice(0, end);
    const positional: (string | number)[] = [];
    for (let i = 0; i < head.length; i++) {
      const arg = head[i]!;
      if (/^--./s.test(arg)) i += this.#long(arg, head[i + 1]);
      else if (/^-./s.test(arg)) i += this.#short(arg, head[i + 1]);
      else if (this.#options.unknown?.(arg) !== false) {
        positional.push(this.#strings.has("_") || !isNumber(arg) ? arg : Number(arg));
      }
    }
    this.#fillIn();
    if (!this.#options["--"]) return { ...this.#values, _: [...positional, ...rest] };
    return { ...this.#values, _: positional, "--": rest };
  }

  /** Takes one `--flag`; returns how many of the following arguments it used. */
  #long(arg: string, next: string | undefined): 0 | 1 {
    const assigned = /^--(.+?)=(.+)$/s.exec(arg);
    if (assigned) {
      // A negated name keeps its "no-" only where there is a value: `--no-x=1` sets `x`.
      const name = assigned[1]!.replace(/^no-(?=.)/, "");
      this.#set(name, this.#booleans.has(name) ? assigned[2] !== "false" : assigned[2]!, arg);
      return 0;
    }
    const name = arg.slice(2);
    const negated = /^no-(.+)$/s.exec(name)?.[1];
    if (negated !== undefined && this.#negatable.has(negated)) {
      this.#set(negated, false, arg, false);
      return 0;
    }
    const takesValue = !this.#isBoolean(name) && !this.#allBooleans;
    return this.#withNext(name, arg, next, takesValue && !!next && !next.startsWith("-"));
  }

  /** Takes one `-abc` group; returns how many of the following arguments it used. */
  #short(arg: string, next: string | undefined): 0 | 1 {
    for (let j = 1; j < arg.length - 1; j++) {
      const letter = arg[j]!;
      const tail = arg.slice(j + 1);
      if (tail === "-") {
        this.#set(letter, tail, arg);
        continue;
      }
      const isLetter = /[A-Za-z]/.test(letter);
      const assigned = isLetter ? /=(.+)/s.exec(tail)?.[1] : undefined;
      if (assigned !== undefined) {
        this.#set(letter, assigned, arg);
        return 0;
      }
      if ((isLetter && /-?\d+(\.\d*)?(e-?\d+)?$/.test(tail)) || /^\W./s.test(tail)) {
        this.#set(letter, tail, arg);
        return 0;
      }
      this.#set(letter, this.#strings.has(letter) ? "" : true, arg);
    }
    const last = arg.at(-1)!;
    if (last === "-") return 0;
    const takesNext = !!next && !/^--?[^-]/.test(next) && !this.#isBoolean(last);
    return this.#withNext(last, arg, next, takesNext);
  }

  #withNext(name: string, arg: string, next: string | undefined, takesNext: boolean): 0 | 1 {
    if (takesNext) {
      this.#set(name, next!, arg);
      return 1;
    }
    if (next === "true" || next === "false") {
      this.#set(name, next === "true", arg);
      return 1;
    }
    this.#set(name, this.#strings.has(name) ? "" : true, arg);
    return 0;
  }

  #set(name: string, value: string | boolean, arg: string, collect = true): void {
    const declared = this.#booleans.has(name) || this.#strings.has(name) ||
      this.#aliases.has(name) || (this.#allBooleans && /^--[^=]+$/.test(arg));
    if (!declared && this.#options.unknown?.(arg, name, value) === false) return;
    const typed = typeof value === "string" && !this.#strings.has(name) && isNumber(value)
      ? Number(value)
      : value;
    for (const each of [name, ...(this.#aliases.get(name) ?? [])]) {
      const before = this.#values[each];
      if (!collect || !this.#collected.has(name)) this.#values[each] = typed;
      else if (Array.isArray(before)) before.push(typed);
      else this.#values[each] = before ? [before, typed] : [typed];
    }
  }

  #fillIn(): void {
    for (const [name, value] of Object.entries(this.#options.default ?? {})) {
      if (Object.hasOwn(this.#values, name)) continue;
      for (const each of [name, ...(this.#aliases.get(name) ?? [])]) this.#values[each] = value;
    }
    for (const name of this.#booleans) {
      if (!Object.hasOwn(this.#values, name)) {
        this.#values[name] = this.#collected.has(name) ? [] : false;
      }
    }
    for (const name of this.#strings) {
      if (!Object.hasOwn(this.#values, name) && this.#collected.has(name)) this.#values[name] = [];
    }
  }

  #declared(names: OneOrMany<string> | undefined): Set<string> {
    const result = new Set<string>();
    for (const name of list(names ?? [])) {
      result.add(name);
      for (const other of this.#aliases.get(name) ?? []) result.add(other);
    }
    return result;
  }

  #isBoolean(name: string): boolean {
    return this.#booleans.has(name);
  }
}

function list(names: OneOrMany<string>): readonly string[] {
  return typeof names === "string" ? [names] : names;
}

function isNumber(text: string): boolean {
  return /^0x[0-9a-f]+$/i.test(text) || /^[-+]?(?:\d+(?:\.\d*)?|\.\d+)(e[-+]?\d+)?$/.test(text);
}
