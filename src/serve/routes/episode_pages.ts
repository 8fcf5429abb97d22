/**
 * The pages about a run's episodes.
 *
 * @module
 */

import { Hono } from "hono";
import { validator } from "hono-openapi";
import * as v from "valibot";
import { episodeSchema } from "../../run/report/collect.ts";
import { isLive } from "../../run/state.ts";
import { episodePage } from "../../web/episode_page.ts";
import type { ListedEpisode } from "../../web/episode_rows.ts";
import { episodesPage } from "../../web/episodes_page.ts";
import { refuseInvalid } from "../body.ts";
import type { ServeEnv } from "../guards.ts";
import { episodeAt, episodes, neighbours, type NumberedEpisode } from "../index/queries.ts";
import { Problem } from "../problem.ts";
import type { RunService } from "../service.ts";
import { page, show } from "./pages.ts";
import { count, defined, MAX_STEP, runParam } from "./schemas.ts";

/** Episodes on a page, at most, unless a single prompt has more samples. */
const LIMIT = 50;
/** Samples of a prompt that are shown, at most. */
const SAMPLES = 256;

/** A field of a form, which is sent empty where nothing was written into it. */
const field = <T>(schema: v.GenericSchema<string, T>) =>
  v.optional(v.pipe(
    v.string(),
    v.transform((text) => text.trim() === "" ? undefined : text.trim()),
    v.optional(schema),
  ));

const filterFields = {
  step: field(count(0, MAX_STEP)),
  correct: field(v.pipe(v.picklist(["true", "false"]), v.transform((text) => text === "true"))),
  task: field(v.pipe(v.string(), v.maxLength(200))),
};
const listQuery = v.object({ ...filterFields, after: field(count(0, MAX_STEP)) });
const filterQuery = v.object(filterFields);
const lineParam = v.object({ ...runParam.entries, line: count(1, MAX_STEP) });

/** `/ui/runs/:id/episodes` and `/ui/runs/:id/episodes/:line`. */
export function episodePageRoutes(service: RunService) {
  return new Hono<ServeEnv>()
    .get(
      "/ui/runs/:id/episodes",
      page,
      validator("param", runParam, refuseInvalid),
      validator("query", listQuery, refuseInvalid),
      (c) => {
        const { id, state } = service.run(c.req.valid("param").id);
        const { after, ...filter } = defined(c.req.valid("query"));
        const range = { ...filter, ...defined({ after }), limit: LIMIT + 1, newest: true };
        const found = read(episodes(service.index.database, id, service.folder(id), range));
        const shown = found.length > LIMIT ? wholePrompts(found) : found;
        return show(
          c,
          episodesPage({
            run: id,
            isLive: isLive(state) || state === "queued",
            filter,
            after,
            episodes: shown,
            next: found.length > shown.length ? shown.at(-1)!.line : null,
          }),
        );
      },
    )
    .get(
      "/ui/runs/:id/episodes/:line",
      page,
      validator("param", lineParam, refuseInvalid),
      validator("query", filterQuery, refuseInvalid),
      (c) => {
        const { id, line } = c.req.valid("param");
        const folder = service.folder(id);
        const { database } = service.index;
        const found = episodeAt(database, id, folder, line);
        const [one] = read(found ? [found] : []);
        if (!one) {
          throw new Problem(
            404,
            `Run "${id}" has no episode in line ${line}: it may have gone back to a checkpoint ` +
              "since, and made other episodes",
          );
        }
        const filter = defined(c.req.valid("query"));
        const { step, group } = one.episode;
        const samples = { step, group, limit: SAMPLES };
        return show(
          c,
          episodePage({
            run: id,
            ...one,
            filter,
            ...neighbours(database, id, line, filter),
            group: read(episodes(database, id, folder, samples)),
          }),
        );
      },
    );
}

function read(lines: readonly NumberedEpisode[]): ListedEpisode[] {
  return lines.flatMap(({ line, episode: value }) => {
    const { success, output } = v.safeParse(episodeSchema, value);
    return success ? [{ line, episode: output }] : [];
  });
}

/** Without the last prompt, some samples of which may be on the next page, unless it is the only one. */
function wholePrompts(found: readonly ListedEpisode[]): readonly ListedEpisode[] {
  const { step, group } = found.at(-1)!.episode;
  const end = found.findIndex(({ episode }) => episode.step === step && episode.group === group);
  return end > 0 ? found.slice(0, end) : found.slice(0, -1);
}
