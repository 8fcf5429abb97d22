/**
 * API-compatible subset of `@std/cli`, written for this project and used where JSR can't be
 * reached; it is not the `@std` package. Deleting the `links` line of deno.json switches to the
 * real one and changes nothing else.
 *
 * @module
 */

export { parseArgs, type ParseOptions } from "./parse_args.ts";
