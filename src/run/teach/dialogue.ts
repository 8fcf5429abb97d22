/**
 * The conversation of a teacher with the tools of a task.
 *
 * @module
 */

import { hashText } from "../../random.ts";
import type { Task } from "../../tasks/task.ts";
import { type EpisodeContext, episodeContext, runCall } from "../../tools/run_call.ts";
import { INSTRUCTION } from "./answer.ts";
import { type Client, GivenUpError } from "./client.ts";
import type { Journal } from "./journal.ts";
import { estimatedTokens } from "./ledger.ts";
import { type Message, returned, textOf, ToolNames, type WantedCall } from "./message.ts";
import type { Job, TeacherCall, Trajectory } from "./trajectory.ts";

/** What every request has, and how far a conversation may go. */
export interface DialogueOptions {
  readonly client: Client;
  readonly journal: Journal;
  /** The teacher's name. */
  readonly model: string;
  /** What the system message says; null is what is needed to find the answer. */
  readonly system: string | null;
  /** Further fields of a request, which win over ours. */
  readonly request: Readonly<Record<string, unknown>>;
  /** Of which every trajectory gets one of its own; null sends none. */
  readonly seed: number | null;
  /** Calls of a trajectory; one more ends it unfinished. */
  readonly maxCalls: number;
}

/**
 * Has the teacher solve a task: out of the journal as far as that goes, then from the endpoint.
 *
 * The calls of a turn are run one after another, as they stand; a call that cannot be read, is refused
 * or fails comes back to the teacher as a text. Those of a task that is checked by its calls are not
 * run, and end the conversation.
 *
 * @throws what {@linkcode Client.ask} does; a {@linkcode GivenUpError} also where a tool could not be
 * had, which says nothing about the teacher.
 * @throws {ToolUnavailableError} if a tool is gone for good.
 */
export async function converse(job: Job, options: DialogueOptions): Promise<Trajectory> {
  const { client, journal, maxCalls } = options;
  const { task } = job;
  const names = new ToolNames(task.tools);
  const desk = new Desk(task);
  const messages = openingOf(task, options.system);
  const calls: TeacherCall[] = [];
  /** Tokens of the conversation up to the last answer, and how many messages that were. */
  let known = { tokens: estimatedTokens(JSON.stringify(names.functions)), messages: 0 };
  for (let turn = 0;; turn++) {
    const more = estimatedTokens(JSON.stringify(messages.slice(known.messages)));
    const answer = journal.answer(job, turn) ??
      await client.ask(job, turn, requestOf(job, messages, names, options), known.tokens + more);
    if ("refused" in answer) return { calls, text: answer.refused, end: "refused" };
    const { message, finish, usage } = answer;
    const text = textOf(message);
    const wanted = names.read(message, turn);
    if (finish === "length") return { calls, text, end: "length" };
    if (task.check === "calls") {
      return { calls: wanted.map(({ call }) => unrun(call)), text, end: "answer" };
    }
    if (wanted.length === 0) return { calls, text, end: "answer" };
    if (calls.length + wanted.length > maxCalls) return { calls, text, end: "calls" };
    const ran = journal.results(job, turn);
    const results = await desk.run(wanted, ran);
    if (!ran) journal.ran(job, turn, results);
    calls.push(...results);
    messages.push(returned(message, turn));
    known = { tokens: usage.input + usage.output, messages: messages.length };
    results.forEach(({ text = "" }, i) =>
      messages.push({ role: "tool", tool_call_id: wanted[i]!.id, content: text })
    );
  }
}

/** Runs the calls of one trajectory. */
class Desk {
  readonly #task: Task;
  readonly #context: EpisodeContext;
  /** Whether earlier calls matter to later ones, and have to be made again where they were not here. */
  readonly #stateful: boolean;

  constructor(task: Task) {
    this.#task = task;
    this.#context = episodeContext(task.world);
    this.#stateful = task.tools.some(({ stateful }) => stateful);
  }

  /** @param ran what became of the calls in an earlier process, which is what the teacher was told */
  async run(
    wanted: readonly WantedCall[],
    ran: readonly TeacherCall[] | undefined,
  ): Promise<TeacherCall[]> {
    if (ran && !this.#stateful) return [...ran];
    const results: TeacherCall[] = [];
    for (const { call } of wanted) {
      const outcome = await runCall(call, this.#task.tools, this.#context);
      const { status, text, result, unavailable } = outcome;
      if (unavailable?.permanent) throw unavailable;
      if (unavailable) throw new GivenUpError(`tool "${call.name}": ${unavailable.message}`);
      const { name, arguments: args } = call;
      const returned = status === "ok" ? { result: result ?? null } : {};
      results.push({ name, arguments: args, status, ...returned, text });
    }
    return ran ? [...ran] : results;
  }
}

function openingOf(task: Task, system: string | null): Message[] {
  // The answer of a task that is checked by its calls are these.
  const own = system ?? (task.check === "calls" ? undefined : INSTRUCTION);
  const said = [own, task.system].filter((part) => part !== undefined).join("\n\n");
  const user = { role: "user", content: task.prompt };
  return said === "" ? [user] : [{ role: "system", content: said }, user];
}

function requestOf(
  { task, sample }: Job,
  messages: readonly Message[],
  { functions }: ToolNames,
  { model, request, seed }: DialogueOptions,
): Record<string, unknown> {
  return {
    model,
    messages,
    // Endpoints refuse an empty list.
    ...(functions.length === 0 ? {} : { tools: functions }),
    // Those who take one read 31 bits.
    ...(seed === null ? {} : { seed: hashText(`${seed}/${task.id}/${sample}`) >>> 1 }),
    ...request,
  };
}

function unrun({ name, arguments: args, status }: WantedCall["call"]): TeacherCall {
  return { name, arguments: args, status };
}
