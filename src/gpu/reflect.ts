/**
 * Reads from WGSL text what the host needs to bind a kernel by name: which storage buffers and
 * which params struct each entry point uses, directly or through helper functions.
 *
 * WebGPU's own `layout: "auto"` drops unused bindings and gives every pipeline an incompatible
 * layout; an explicit layout written by hand would say everything twice. Thirty lines of reading
 * the declarations keep the shader as the only source of truth.
 *
 * @module
 */

import { block, withoutComments } from "./wgsl.ts";

/** One storage buffer of an entry point. */
export interface StorageBinding {
  readonly name: string;
  readonly binding: number;
  readonly access: "read" | "read_write";
}

/** One scalar member of a params struct, in declaration order; every member is 4 bytes. */
export interface ParamField {
  readonly name: string;
  readonly type: "u32" | "f32";
}

/** What one `@compute` function needs from the host. */
export interface EntryPoint {
  readonly name: string;
  readonly storage: readonly StorageBinding[];
  readonly params: readonly ParamField[];
}

interface Variable {
  name: string;
  group: number;
  binding: number;
  space: string;
  type: string;
}

/** Names in a function body, members of structs aside; a local must not be named like a binding. */
function words(text: string): Set<string> {
  return new Set(text.match(/(?<![.\w])[A-Za-z_]\w*/g));
}

/**
 * Lists the entry points of a WGSL module.
 *
 * @throws {SyntaxError} if a params struct has a member that is not `u32` or `f32`.
 */
export function reflect(wgsl: string): Map<string, EntryPoint> {
  const source = withoutComments(wgsl);

  const variables: Variable[] = [];
  const declaration = /@group\((\d+)\)\s*@binding\((\d+)\)\s*var<([^>]+)>\s*(\w+)\s*:\s*([^;]+);/g;
  for (const [, group, binding, space, name, type] of source.matchAll(declaration)) {
    variables.push({
      name: name!,
      group: Number(group),
      binding: Number(binding),
      space: space!.replaceAll(" ", ""),
      type: type!.trim(),
    });
  }

  const structs = new Map<string, ParamField[]>();
  for (const match of source.matchAll(/struct\s+(\w+)/g)) {
    const fields: ParamField[] = [];
    for (const [, name, type] of block(source, match.index).matchAll(/(\w+)\s*:\s*([^,}]+)/g)) {
      fields.push({ name: name!, type: type!.trim() as ParamField["type"] });
    }
    structs.set(match[1]!, fields);
  }

  const bodies = new Map<string, Set<string>>();
  const entries: string[] = [];
  for (const match of source.matchAll(/((?:@\w+(?:\([^)]*\))?\s*)*)fn\s+(\w+)\s*\(/g)) {
    bodies.set(match[2]!, words(block(source, source.indexOf(")", match.index))));
    if (match[1]!.includes("@compute")) entries.push(match[2]!);
  }

  const result = new Map<string, EntryPoint>();
  for (const entry of entries) {
    const used = new Set<string>();
    const visit = (name: string) => {
      for (const word of bodies.get(name)!) {
        if (used.has(word)) continue;
        used.add(word);
        if (bodies.has(word)) visit(word);
      }
    };
    visit(entry);

    const storage: StorageBinding[] = [];
    let params: readonly ParamField[] = [];
    for (const variable of variables) {
      if (!used.has(variable.name)) continue;
      if (variable.space === "uniform") {
        params = structs.get(variable.type) ?? [];
        const odd = params.find((field) => field.type !== "u32" && field.type !== "f32");
        if (odd) {
          throw new SyntaxError(
            `Cannot read WGSL params "${variable.type}": member "${odd.name}" is ${odd.type}, only u32 and f32 are supported`,
          );
        }
      } else {
        storage.push({
          name: variable.name,
          binding: variable.binding,
          access: variable.space === "storage,read_write" ? "read_write" : "read",
        });
      }
    }
    result.set(entry, { name: entry, storage, params });
  }
  return result;
}
