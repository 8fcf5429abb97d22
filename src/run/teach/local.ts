/**
 * Trajectories from a model that runs here, the way `generate` runs one.
 *
 * @module
 */

import { Generator } from "../../model/generator.ts";
import { type Rollout, rollout, type RolloutOptions } from "../../rl/rollout.ts";
import type { Task } from "../../tasks/task.ts";
import type { ChatFormat } from "../../text/chat_template.ts";
import { openAdapter } from "../adapter.ts";
import type { RunConfig } from "../config/mod.ts";
import { chatOf, loadStudent } from "../student.ts";
import { INSTRUCTION } from "./answer.ts";
import type { Usage } from "./ledger.ts";
import type { TeachOptions } from "./options.ts";
import { HaltError, type Teacher, type Work } from "./teacher.ts";
import type { Job, Trajectory } from "./trajectory.ts";

/**
 * The model `config.from` on an adapter of this machine. One trajectory per task is greedy, several
 * are drawn, unless the settings name a temperature.
 *
 * @param given whether a setting was named
 */
export function localTeacher(
  config: RunConfig,
  { samples = 1, system: said, onProgress }: TeachOptions,
  given: (setting: string) => boolean,
): Teacher {
  const { from, chat, dtype, seed, rollout: { maxTokens, maxCalls, topK, topP } } = config;
  const isDrawn = samples > 1 || given("rollout.temperature");
  const temperature = isDrawn ? config.rollout.temperature : 0;
  const system = said ?? chat.system;
  const { slots, stepsPerRead } = config.rollout;
  const settings = { model: from, system: system ?? INSTRUCTION, maxTokens, maxCalls };
  return {
    url: null,
    settings: { ...settings, ...{ temperature, topK, topP, seed, format: chat.format } },

    async solve(tasks: readonly Task[], work: Work) {
      const { journal } = work;
      const isDone = (task: Task) =>
        Array.from({ length: samples }, (_, sample) => journal.trajectory({ task, sample }))
          .every((trajectory) => trajectory !== undefined);
      if (tasks.every(isDone)) return [];
      using gpu = await openAdapter(config);
      using student = await loadStudent(gpu, from, { chat, dtype, onProgress });
      const length = maxTokens ?? Math.min(student.model.config.maxPositions, 1024);
      using generator = new Generator(student.model, {
        ...{ length, stepsPerRead, stops: student.chat.stops },
        slots: Math.min(slots, tasks.length * samples),
      });
      const reasons: string[] = [];
      const size = Math.max(1, Math.floor(slots / samples));
      // The answer of a task that is checked by its calls are these: nothing has to be stated.
      for (const alike of Map.groupBy(tasks, ({ check }) => check === "calls").values()) {
        const own = system ?? (alike[0]!.check === "calls" ? null : INSTRUCTION);
        const format = chatOf(student.tokenizer, { ...chat, system: own });
        const drawing = { temperature, topK, topP, seed, maxTokens: length, maxCalls };
        for (let first = 0; first < alike.length; first += size) {
          // Batches do not depend on what was done before, so that the same is drawn in any case.
          const batch = alike.slice(first, first + size);
          if (batch.every(isDone)) continue;
          reasons.push(...await solveBatch(batch, generator, format, drawing, work));
        }
      }
      return reasons;
    },
  };
}

/** All trajectories of some tasks, those included that the journal has. */
async function solveBatch(
  batch: readonly Task[],
  generator: Generator,
  chat: ChatFormat,
  drawing: Omit<RolloutOptions, "stream">,
  { samples, journal, signal, onEnd }: Work,
): Promise<string[]> {
  const reasons: string[] = [];
  const end = (job: Job, trajectory: Trajectory, usage: Usage) => {
    if (journal.trajectory(job)) return;
    journal.ended(job, trajectory, usage);
    onEnd(job);
  };
  const promptLength = ({ prompt, tools, system }: Task) =>
    chat.promptIds(prompt, tools, system).length;
  // What the model is not even asked; a rollout would refuse all of them for one.
  const long = batch.filter((task) => promptLength(task) + 1 >= drawing.maxTokens);
  for (const task of long) {
    for (let sample = 0; sample < samples; sample++) {
      end({ task, sample }, { calls: [], text: null, end: "length" }, { input: 0, output: 0 });
    }
  }
  const fitting = batch.filter((task) => !long.includes(task));
  const groups = await drawn(
    () => rollout(generator, chat, fitting, samples, { ...drawing, stream: "teach", signal }),
    signal,
  );
  for (const group of groups) {
    for (const [sample, one] of group.entries()) {
      const { task, episode, ids } = one;
      const job = { task, sample };
      if (episode.unscorable) {
        reasons.push(`a tool of task "${task.id}" could not be had: ${one.unavailable}`);
        continue;
      }
      const { tokens: output } = episode;
      end(job, trajectoryOf(one), { input: ids.length - output, output });
    }
  }
  return reasons;
}

/** What was drawn. @throws {HaltError} if that was interrupted: nothing is paid for what is lost. */
async function drawn<T>(draw: () => Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await draw();
  } catch (error) {
    if (signal.aborted) throw new HaltError("interrupt", "it was interrupted");
    throw error;
  }
}

function trajectoryOf({ episode: { attempts, answer }, cut }: Rollout): Trajectory {
  return {
    calls: attempts.map(({ name, arguments: args, status, result }) => ({
      ...{ name, arguments: args, status },
      ...(status === "ok" && result !== undefined ? { result } : {}),
    })),
    text: answer,
    end: cut === undefined ? "answer" : cut === "context" ? "length" : "calls",
  };
}
