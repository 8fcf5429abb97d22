/**
 * A teacher behind an endpoint: many conversations at a time.
 *
 * @module
 */

import type { Task } from "../../tasks/task.ts";
import { ConfigError, type RunConfig } from "../config/mod.ts";
import { INSTRUCTION } from "./answer.ts";
import { Client, GivenUpError } from "./client.ts";
import { converse } from "./dialogue.ts";
import { completionsUrl, Endpoint } from "./endpoint.ts";
import { budgetOf, type TeachOptions } from "./options.ts";
import { RateLimit } from "./rate_limit.ts";
import { HaltError, type Teacher, type Work } from "./teacher.ts";

/** Trajectories given up in a row after which the endpoint counts as out of order. */
const MOST_GIVEN_UP = 10;

/** Fields of a request that a conversation with tools depends on. */
const OWN_FIELDS = ["model", "messages", "tools", "stream", "n"];

/**
 * The model `config.from` behind an endpoint.
 *
 * Requests have no more fields than they need, since endpoints refuse what they do not know: a
 * temperature, a share or a seed only where the settings name one.
 *
 * @param given whether a setting was named
 * @throws {ConfigError} if the endpoint, its key or further fields of requests can't be used.
 */
export function remoteTeacher(
  config: RunConfig,
  options: TeachOptions & { readonly endpoint: string },
  given: (setting: string) => boolean,
): Teacher {
  const { from: model, seed, rollout: { temperature, topP, maxCalls }, chat } = config;
  const { concurrency = 4, attempts = 6, retryMs = 1000 } = options;
  const own = OWN_FIELDS.find((name) => Object.hasOwn(options.request ?? {}, name));
  if (own !== undefined) {
    throw new ConfigError(
      `Cannot use --request with "${own}": that belongs to the conversation. Leave it out`,
    );
  }
  const url = completionsUrl(options.endpoint);
  const endpoint = new Endpoint({ url, key: keyFor(url, options.keyEnv) });
  const asked = {
    model,
    system: options.system ?? chat.system,
    maxCalls,
    seed: given("seed") ? seed : null,
    request: {
      ...(given("rollout.temperature") ? { temperature } : {}),
      ...(given("rollout.topP") ? { top_p: topP } : {}),
      ...options.request,
    },
  };
  return {
    url: endpoint.url,
    settings: { ...asked, system: asked.system ?? INSTRUCTION },

    async solve(tasks: readonly Task[], { samples, journal, signal, onEnd }: Work) {
      const halt = new AbortController();
      const interrupt = () => halt.abort(new HaltError("interrupt", "it was interrupted"));
      signal.addEventListener("abort", interrupt, { once: true });
      if (signal.aborted) interrupt();
      const rate = new RateLimit(
        options.requestsPerMinute ?? null,
        options.tokensPerMinute ?? null,
      );
      const budget = budgetOf(options);
      const client = new Client({ endpoint, journal, budget, rate, attempts, retryMs, halt });
      // A first trajectory of every task before a second of any: the budget may end it.
      const jobs = Array.from({ length: samples }, (_, sample) => sample).values()
        .flatMap((sample) => tasks.map((task) => ({ task, sample })))
        .filter((job) => journal.trajectory(job) === undefined);
      const reasons: string[] = [];
      let inARow = 0;
      await share(jobs, concurrency, halt, async (job) => {
        try {
          journal.ended(job, await converse(job, { ...asked, client, journal }));
          inARow = 0;
        } catch (error) {
          if (!(error instanceof GivenUpError)) throw error;
          reasons.push(error.message);
          if (++inARow === MOST_GIVEN_UP) throw new HaltError("unanswered", error.message);
        }
        onEnd(job);
      });
      signal.removeEventListener("abort", interrupt);
      halt.signal.throwIfAborted();
      return reasons;
    },
  };
}

/** Has workers take jobs until there are none; whatever goes wrong first keeps all from the next. */
async function share<T>(
  jobs: Iterator<T>,
  workers: number,
  halt: AbortController,
  work: (job: T) => Promise<void>,
): Promise<void> {
  const worker = async () => {
    try {
      for (let next; !(next = jobs.next()).done;) {
        halt.signal.throwIfAborted();
        await work(next.value);
      }
    } catch (error) {
      halt.abort(error);
    }
  };
  await Promise.all(Array.from({ length: workers }, worker));
}

/**
 * The key for an endpoint. It is sent in the clear over a network only where somebody named it.
 *
 * @throws {ConfigError} if there is none and one is needed.
 */
function keyFor(url: URL, keyEnv: string | undefined): string | null {
  const isNear = /^(localhost|127\.[\d.]+|\[::1\])$/.test(url.hostname);
  const isOpen = url.protocol === "http:";
  if (keyEnv === undefined && isOpen && !isNear) return null;
  const name = keyEnv ?? "OPENAI_API_KEY";
  const key = Deno.env.get(name) ?? "";
  if (key !== "") return key;
  if (keyEnv === undefined && isNear) return null;
  throw new ConfigError(
    `Cannot ask ${url} without a key: put it into the environment as ${name}, or name another ` +
      "variable with --key-env",
  );
}
