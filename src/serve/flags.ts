/**
 * The flags of `./mentor serve`, which its help needs and nothing else of the server.
 *
 * @module
 */

import { inferenceFlags } from "./openai/flags.ts";

/** The flags of the command, for help. */
export const serveFlags = {
  host: "Address to listen on (default 127.0.0.1); others than this machine's take tokens",
  port: "Port to listen on; 0 is any that is free (default 8000)",
  runs: "Folder of the runs (default runs)",
  "token-file": "File with the hashes of tokens; without one every program here may ask",
  ...inferenceFlags,
  parallel: "How many runs are made at the same time (default 1)",
  allow: "Folders and Hub models that requests may name, with commas between (default none)",
  "allow-tools":
    "Tools that requests may name, and call if built in, and modules (default calculator)",
  cors: "Origins of other web pages that may ask, with commas between (default none)",
  rate: "Requests of a client in a second (default 2000)",
  "at-exit": "Whether runs go on or stop when the server ends: keep, stop (default keep)",
  scope: "What a new token is for: read, control (default read)",
  days: "Days after which a new token stops to count (default never)",
} as const;
