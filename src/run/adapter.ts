/**
 * The adapter of a run, with the workgroup shapes of its class or those that a file has for it.
 *
 * @module
 */

import * as v from "valibot";
import { Gpu, type GpuOptions } from "../gpu/device.ts";
import type { Tuning } from "../gpu/tuning.ts";
import { ConfigError, type RunConfig } from "./config/mod.ts";

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const tile = v.strictObject({
  lanesN: count,
  lanesM: count,
  blocksN: count,
  blocksM: count,
  depth: v.pipe(count, v.multipleOf(4)),
});
const orNone = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const tuningSchema: v.GenericSchema<Tuning> = v.strictObject({
  lanes: count,
  wide: count,
  partialRows: count,
  simd: v.boolean(),
  simdBlocks: v.picklist([0, 1, 2, 4]),
  readBits: v.picklist([32, 64]),
  matmul: tile,
  matmulSmall: tile,
  fewRows: orNone,
  workgroups: orNone,
  rowLanes: count,
  unroll: v.boolean(),
  roundsInFlight: count,
});
/** What of a report of `./mentor bench tune` counts here. */
const storedSchema = v.object({ adapter: v.string(), tune: v.object({ tuning: tuningSchema }) });

/**
 * Opens the adapter.
 *
 * @throws {ConfigError} if the config's tuning is not a report of this adapter's.
 * @throws {GpuUnavailableError} if no adapter will do.
 */
export async function openAdapter(
  { tuning: path }: Pick<RunConfig, "tuning">,
  options: Omit<GpuOptions, "tuning"> = {},
): Promise<Gpu> {
  if (path === null) return await Gpu.open(options);
  const { adapter, tune } = readStored(path);
  const gpu = await Gpu.open({ ...options, tuning: tune.tuning });
  const { description } = gpu.info;
  if (description === adapter) return gpu;
  gpu.close();
  throw refusal(path, `it was found on ${adapter}, and this is ${description}`);
}

function readStored(path: string): v.InferOutput<typeof storedSchema> {
  let value: unknown;
  try {
    value = JSON.parse(Deno.readTextFileSync(path));
  } catch (error) {
    throw refusal(path, (error as Error).message);
  }
  const { success, output, issues } = v.safeParse(storedSchema, value);
  if (success) return output;
  const [{ message, path: at }] = issues;
  throw refusal(path, `${at ? `at ${at.map(({ key }) => key).join(".")}: ` : ""}${message}`);
}

function refusal(path: string, fault: string): ConfigError {
  return new ConfigError(
    `Cannot use tuning "${path}": ${fault}; make one with ./mentor bench tune --save FILE`,
  );
}
