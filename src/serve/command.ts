/**
 * `./mentor serve`: the server at a terminal, and the tokens for it.
 *
 * @module
 */

import { ConfigError } from "../run/config/mod.ts";
import { onInterrupt } from "../run/interrupt.ts";
import type { Invocation } from "../run/commands.ts";
import { err, json, out } from "../run/commands.ts";
import { inferenceOptions } from "./openai/flags.ts";
import { locateModel } from "../run/model_source.ts";
import type { RequestRecord } from "./request_log.ts";
import { MentorServer } from "./serve.ts";
import { newToken, readTokens, scopes } from "./tokens.ts";

/** Serves until it is interrupted, or makes a token. */
export async function runServe(args: Invocation): Promise<number> {
  const [action, name] = args.positional;
  if (action === undefined) return await serve(args);
  if (action === "token" && name !== undefined) return makeToken(name, args);
  throw new ConfigError(
    `Cannot serve "${args.positional.join(" ")}": it takes flags alone, or token NAME`,
  );
}

async function serve({ own, json: asJson, quiet }: Invocation): Promise<number> {
  const log = asJson
    ? (record: RequestRecord) => err(JSON.stringify(record))
    : (record: RequestRecord) => err(lineOf(record));
  const tokens = own["token-file"] === undefined ? null : readTokens(own["token-file"]);
  const atExit = choose("at-exit", own["at-exit"] ?? "keep", ["keep", "stop"]);
  const inference = inferenceOptions(own);
  // What is not there is told now, and what comes from the Hub is here before anybody asks for it.
  for (const model of Object.values(inference.models ?? {})) await locateModel(model);
  const server = await MentorServer.open({
    host: own["host"] ?? "127.0.0.1",
    port: wholeNumber("port", own["port"] ?? "8000", 0, 65535),
    runs: own["runs"] ?? "runs",
    parallel: wholeNumber("parallel", own["parallel"] ?? "1", 1, 1024),
    rate: wholeNumber("rate", own["rate"] ?? "2000", 1, 1e6),
    tokens,
    inference,
    allowed: {
      places: list(own["allow"]),
      ...(own["allow-tools"] === undefined ? {} : { tools: list(own["allow-tools"]) }),
    },
    origins: list(own["cors"]).map(requireOrigin),
    // What went wrong is told in any case.
    onRequest: (record) => quiet && record.error === undefined ? undefined : log(record),
    onError: (error) =>
      err(
        asJson
          ? JSON.stringify({ time: new Date().toISOString(), error: error.stack })
          : String(error),
      ),
  });
  // Before anybody is told that it is there, and may end it.
  const interrupted = new Promise<void>((resolve) => onInterrupt(resolve));
  if (asJson) json({ url: server.url });
  else out(`Serving ${own["runs"] ?? "runs"} at ${server.url}, described at ${server.url}/docs`);
  await interrupted;
  if (!quiet && !asJson) {
    err(atExit === "stop" ? "Stopping the runs, then the server" : "Stopping; runs go on");
  }
  await server.close({ stopRuns: atExit === "stop" });
  return 0;
}

function makeToken(name: string, { own, json: asJson }: Invocation): number {
  const scope = choose("scope", own["scope"] ?? "read", scopes);
  const days = own["days"] === undefined ? null : wholeNumber("days", own["days"], 1, 36500);
  const made = newToken(name, scope, days);
  if (asJson) json(made);
  else {
    out(`The token, which is shown only now:\n  ${made.token}\n`);
    out(`The line for the server's --token-file:\n  ${made.line}`);
  }
  return 0;
}

function lineOf(
  { time, method, path, status, milliseconds, client, error }: RequestRecord,
): string {
  const line = `${time} ${client} ${method} ${path} ${status} ${milliseconds} ms`;
  return error === undefined ? line : `${line}\n${error}`;
}

function list(text: string | undefined): string[] {
  return (text ?? "").split(",").map((item) => item.trim()).filter((item) => item !== "");
}

/** What a browser sends as `Origin` is compared letter by letter. */
function requireOrigin(text: string): string {
  if (URL.canParse(text) && new URL(text).origin === text) return text;
  throw new ConfigError(
    `Cannot use --cors ${text}: an origin is as https://plots.example or http://localhost:3000`,
  );
}

function choose<T extends string>(flag: string, text: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === text);
  if (found !== undefined) return found;
  throw new ConfigError(`Cannot use --${flag} ${text}: allowed is ${allowed.join(" or ")}`);
}

function wholeNumber(flag: string, text: string, least: number, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= least && value <= most) return value;
  throw new ConfigError(
    `Cannot use --${flag} ${text}: allowed is a whole number from ${least} to ${most}`,
  );
}
