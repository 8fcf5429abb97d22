/**
 * Credit turn by turn: each turn of an episode is paid what it added to a potential, here how far the
 * calls made so far agree with the teacher's. A right call is then worth something where all answers
 * of a group are wrong, and turns after it are not praised for it.
 *
 * @module
 */

import { alignArguments, alignTools, type Potential } from "../mod.ts";
import { type RunResult, train, type TrainOptions } from "../mod.ts";

/** How far the calls of a prefix have come, from 0 to 0.5: half of what right answers are worth. */
export const agreement: Potential = ({ attempts }, reference, { tools = [] }) => {
  if (reference === null) return 0;
  const options = { tools, operator: "lcs" } as const;
  return 0.3 * alignTools(attempts, reference.calls, options) +
    0.2 * alignArguments(attempts, reference.calls, options);
};

export async function trainByTurns(
  settings: Record<string, unknown> = {},
  options: TrainOptions = {},
): Promise<RunResult> {
  // The answer alone is rewarded; the teacher's way is in the potential.
  return await train({ reward: "sparse", ...settings }, { ...options, potential: agreement });
}

if (import.meta.main) {
  const { domains } = await trainByTurns({ steps: 40 });
  console.table(domains.map(({ name, split, before, after }) => ({
    domain: `${name}, ${split}`,
    before: before.pass1,
    after: after.pass1,
  })));
}
