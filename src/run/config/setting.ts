/**
 * What a run's configuration is made of: settings with a default, a description and a sentence about
 * what is allowed, and groups of them.
 *
 * @module
 */

import * as v from "valibot";

/** How the text of a flag becomes a value. */
export type SettingKind = "integer" | "number" | "text" | "texts" | "numbers" | "switch";

/** One setting, as help and flags see it. */
export interface Setting {
  /** As in the config file, with dots: `rollout.topK`. */
  readonly path: string;
  /** How the text of a flag becomes its value. */
  readonly kind: SettingKind;
  /** Whether it may be null. */
  readonly nullable: boolean;
  /** What it is, for help. */
  readonly description: string;
  /** Completes the sentence "allowed is ...". */
  readonly allowed: string;
  /** The words that it, or each item of its list, may be; null where it is not one of a few. */
  readonly options: readonly string[] | null;
  /** Its value when nobody sets it. */
  readonly fallback: unknown;
  /** Whether a value is allowed. */
  accepts(value: unknown): boolean;
}

/** What a schema keeps of a setting, beside its description. */
type Metadata = Pick<Setting, "kind" | "allowed" | "options">;

/** A setting of a schema. */
export type SettingSchema<T> = v.OptionalSchema<v.GenericSchema<T>, () => T>;

/**
 * A setting of any kind.
 *
 * @param allowed completes the sentence "allowed is ..."
 * @param options see {@linkcode Setting.options}
 */
export function setting<T>(
  kind: SettingKind,
  schema: v.GenericSchema<T>,
  fallback: NoInfer<T>,
  allowed: string,
  description: string,
  options: readonly string[] | null = null,
): SettingSchema<T> {
  const described = v.pipe(
    schema,
    v.description<T, string>(description),
    v.metadata<T, Metadata>({ kind, allowed, options }),
  );
  // A fresh default each time: a list handed out may be changed by who gets it.
  return v.optional(described, () => structuredClone(fallback)) as unknown as SettingSchema<T>;
}

/** A whole number of at least `min`. */
export function integer(fallback: number, min: number, description: string): SettingSchema<number> {
  const schema = v.pipe(v.number(), v.safeInteger(), v.minValue(min));
  return setting("integer", schema, fallback, `a whole number of at least ${min}`, description);
}

/** The same, or null, which is its default. */
export function integerOrNull(min: number, description: string): SettingSchema<number | null> {
  const schema = v.nullable(v.pipe(v.number(), v.safeInteger(), v.minValue(min)));
  const allowed = `a whole number of at least ${min}, or null`;
  return setting("integer", schema, null, allowed, description);
}

/** A number from `min` to `max`. */
export function real(
  fallback: number,
  min: number,
  max: number,
  description: string,
): SettingSchema<number> {
  const schema = v.pipe(v.number(), v.finite(), v.minValue(min), v.maxValue(max));
  const allowed = `a number ${max === Infinity ? `of at least ${min}` : `from ${min} to ${max}`}`;
  return setting("number", schema, fallback, allowed, description);
}

/** On or off; off by default. */
export function toggle(description: string): SettingSchema<boolean> {
  return setting("switch", v.boolean(), false, "true or false", description);
}

/** One of several words. */
export function choice<const T extends string>(
  options: readonly T[],
  fallback: NoInfer<T>,
  description: string,
): SettingSchema<T> {
  const allowed = `one of ${options.join(", ")}`;
  return setting<T>("text", v.picklist(options), fallback, allowed, description, options);
}

/** Some of several words, at least one, and none twice. */
export function choices<const T extends string>(
  options: readonly T[],
  fallback: NoInfer<T>[],
  description: string,
): SettingSchema<T[]> {
  const schema = v.pipe(
    v.array(v.picklist(options)),
    v.nonEmpty(),
    v.checkItems((item, index, items) => items.indexOf(item) === index),
  );
  const allowed = `a list of different names out of ${options.join(", ")}`;
  return setting<T[]>("texts", schema, fallback, allowed, description, options);
}

/** A text that is not empty. */
export function text(fallback: string, description: string): SettingSchema<string> {
  const schema = v.pipe(v.string(), v.nonEmpty());
  return setting("text", schema, fallback, "a text that is not empty", description);
}

/** A path or null, which is its default. */
export function pathOrNull(description: string): SettingSchema<string | null> {
  const schema = v.nullable(v.pipe(v.string(), v.nonEmpty()));
  return setting("text", schema, null, "a path, or null", description);
}

/** Every setting has a default, so that an empty group is a valid one. */
export function group<const E extends v.ObjectEntries>(
  entries: E,
): v.OptionalSchema<
  v.StrictObjectSchema<E, undefined>,
  () => v.InferInput<v.StrictObjectSchema<E, undefined>>
> {
  type Input = v.InferInput<v.StrictObjectSchema<E, undefined>>;
  return v.optional(v.strictObject(entries), () => ({}) as Input);
}

/** The settings of a schema, in its order. @param prefix of their paths */
export function listSettings(entries: v.ObjectEntries, prefix: string): Setting[] {
  return Object.entries(entries).flatMap(([key, entry]) => {
    const { wrapped } = entry as v.OptionalSchema<v.GenericSchema, unknown>;
    const path = prefix + key;
    if (wrapped.type === "strict_object") {
      const group = wrapped as v.StrictObjectSchema<v.ObjectEntries, undefined>;
      return listSettings(group.entries, `${path}.`);
    }
    return [{
      path,
      ...v.getMetadata(wrapped) as Metadata,
      nullable: v.is(wrapped, null),
      description: v.getDescription(wrapped) ?? "",
      fallback: v.getDefault(entry as v.OptionalSchema<v.GenericSchema, unknown>),
      accepts: (value: unknown) => v.is(wrapped, value),
    }];
  });
}
