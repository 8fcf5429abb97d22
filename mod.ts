/**
 * Mentor teaches small language models to use tools, on whatever GPU is at hand.
 *
 * @module
 */

import { readFolder, saveFolder } from "./src/io/checkpoint.ts";
import { useFolder } from "./src/io/folder.ts";

useFolder({ read: readFolder, write: saveFolder });

export { Gpu } from "./src/gpu/device.ts";
export { train } from "./src/run/train.ts";
