/**
 * The files of checkpoints and of the trained model.
 *
 * @module
 */

import { join } from "@std/path";
import { type Context, Hono } from "hono";
import { describeRoute, validator } from "hono-openapi";
import * as v from "valibot";
import { refuseInvalid } from "../body.ts";
import type { ServeEnv } from "../guards.ts";
import { Problem } from "../problem.ts";
import type { RunService } from "../service.ts";
import { answer, problems, runParam } from "./schemas.ts";

/** Neither hidden, nor a way to another folder. */
const fileName = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/, "a file's name has letters, digits, ., _ and -"),
);
const step = v.pipe(v.string(), v.regex(/^\d{1,9}$/, "a step is a whole number"));

const folderParam = v.object({ ...runParam.entries, step });
const checkpointParam = v.object({ ...folderParam.entries, file: fileName });
const modelParam = v.object({ ...runParam.entries, file: fileName });

const fileList = v.object({ files: v.array(v.object({ name: v.string(), bytes: v.number() })) });

/** `/runs/:id/checkpoints/:step` and `/runs/:id/model`, with their files. */
export function fileRoutes(service: RunService) {
  const list = (what: string) =>
    describeRoute({
      tags: ["files"],
      summary: `List the files of ${what}`,
      responses: { 200: answer("Names and sizes", fileList), ...problems(404) },
    });
  const file = (what: string) =>
    describeRoute({
      tags: ["files"],
      summary: `Download a file of ${what}, or the bytes of it that \`Range\` names`,
      responses: {
        200: { description: "The file" },
        206: { description: "The bytes" },
        ...problems(404, 416),
      },
    });
  const checkpoint = (id: string, step: string) =>
    join(service.folder(id), `checkpoint-${Number(step)}`);
  const model = (id: string) => join(service.folder(id), "model");
  return new Hono<ServeEnv>()
    .get(
      "/runs/:id/checkpoints/:step",
      list("a checkpoint"),
      validator("param", folderParam, refuseInvalid),
      (c) => {
        const { id, step } = c.req.valid("param");
        return c.json({ files: filesOf(checkpoint(id, step)) }, 200);
      },
    )
    .get(
      "/runs/:id/checkpoints/:step/:file",
      file("a checkpoint"),
      validator("param", checkpointParam, refuseInvalid),
      (c) => {
        const { id, step, file } = c.req.valid("param");
        return sendFile(c, checkpoint(id, step), file);
      },
    )
    .get(
      "/runs/:id/model",
      list("the trained model"),
      validator("param", runParam, refuseInvalid),
      (c) => c.json({ files: filesOf(model(c.req.valid("param").id)) }, 200),
    )
    .get(
      "/runs/:id/model/:file",
      file("the trained model"),
      validator("param", modelParam, refuseInvalid),
      (c) => {
        const { id, file } = c.req.valid("param");
        return sendFile(c, model(id), file);
      },
    );
}

/** Names and sizes of the files in a folder. @throws {Problem} 404 if there is no such folder */
export function filesOf(folder: string): { name: string; bytes: number }[] {
  infoOf(folder, "isDirectory");
  return [...Deno.readDirSync(folder)].filter(({ isFile }) => isFile)
    .map(({ name }) => ({ name, bytes: infoOf(join(folder, name), "isFile").size }))
    .sort((a, b) => a.name < b.name ? -1 : 1);
}

/** Sends a file piece by piece. */
async function sendFile(c: Context, folder: string, name: string): Promise<Response> {
  infoOf(folder, "isDirectory");
  const path = join(folder, name);
  const { size } = infoOf(path, "isFile");
  const { first, last, isPart } = parseRange(c.req.header("range"), size);
  const headers = {
    "content-type": path.endsWith(".json") ? "application/json" : "application/octet-stream",
    "content-length": String(last - first + 1),
    "accept-ranges": "bytes",
    ...(isPart ? { "content-range": `bytes ${first}-${last}/${size}` } : {}),
  };
  if (c.req.method === "HEAD") return c.body(null, 200, headers);
  const file = await Deno.open(path, { read: true });
  await file.seek(first, Deno.SeekMode.Start);
  return c.body(file.readable.pipeThrough(take(last - first + 1)), isPart ? 206 : 200, headers);
}

/** What is known of a file or folder. @throws {Problem} 404 if there is none; a link is none */
function infoOf(path: string, kind: "isFile" | "isDirectory"): Deno.FileInfo {
  let info: Deno.FileInfo | null = null;
  try {
    info = Deno.lstatSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (info?.[kind]) return info;
  throw new Problem(404, `There is no such ${kind === "isFile" ? "file" : "folder"}`);
}

/** What a `Range` asks for; more than one part, or another unit, is the whole file. */
function parseRange(
  header: string | undefined,
  size: number,
): { first: number; last: number; isPart: boolean } {
  const whole = { first: 0, last: size - 1, isPart: false };
  const [, from, to] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? "") ?? [];
  if (from === undefined || to === undefined || from + to === "") return whole;
  const first = from === "" ? Math.max(0, size - Number(to)) : Number(from);
  const last = from === "" || to === "" ? size - 1 : Math.min(Number(to), size - 1);
  if (first <= last) return { first, last, isPart: true };
  throw new Problem(416, `The file has ${size} bytes`, {
    headers: { "content-range": `bytes */${size}` },
  });
}

/** Passes on so many bytes, and ends. */
function take(bytes: number): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  let left = bytes;
  return new TransformStream({
    transform(chunk, controller) {
      controller.enqueue(chunk.subarray(0, left));
      left -= Math.min(left, chunk.length);
      if (left === 0) controller.terminate();
    },
  });
}
