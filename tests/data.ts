// Public data that is too large for the repository: MENTOR_DATA names a folder that holds it.

import { join } from "@std/path";

/** A benchmark's folder under MENTOR_DATA, or null, and what to add to a test's name then. */
export function testData(benchmark: string, file: string): { folder: string | null; hint: string } {
  const data = Deno.env.get("MENTOR_DATA");
  for (const folder of data === undefined ? [] : [data, join(data, benchmark)]) {
    try {
      Deno.statSync(join(folder, file));
      return { folder, hint: "" };
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return { folder: null, hint: ` (set MENTOR_DATA to a folder with ${benchmark}/${file})` };
}
