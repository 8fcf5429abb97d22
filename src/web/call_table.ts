/**
 * What the student did beside what the teacher did, call by call.
 *
 * @module
 */

import { canonicalJson } from "../rl/arguments.ts";
import { type CallPair, matchCalls } from "../rl/call_pairs.ts";
import type { ReportEpisode } from "../run/report/collect.ts";
import { callLine, type ShownCall } from "../run/report/episode_parts.ts";
import { compactJson, count } from "../run/report/format.ts";
import { clip, type Html, markup } from "../run/report/html.ts";

/** Most calls of a side that are compared. */
const CALLS = 60;
/** Most arguments of a call of which a difference is told. */
const ARGUMENTS = 12;

/** A row of the table; what a side did not do is null. */
interface Row {
  readonly attempt: ShownCall | null;
  readonly wanted: ShownCall | null;
  /** What the comparison says. */
  readonly verdict: Html;
}

/** The calls of both, aligned as the reward aligns them; those of the student, if there is no other. */
export function callTable({ attempts, reference, group }: ReportEpisode): Html {
  const made = attempts.slice(0, CALLS);
  const cut = attempts.length > CALLS || (reference?.calls.length ?? 0) > CALLS
    ? markup`<p class="note">The first ${CALLS} calls of each are compared: the student made ${
      count(attempts.length, "call")
    }, the teacher ${reference?.calls.length ?? 0}.</p>`
    : null;
  if (!reference) {
    const why = reference === null
      ? "The task has no teacher."
      : group > 0
      ? "What the teacher did is recorded for the first prompt of a step only."
      : "This run did not record what the teacher did.";
    return markup`<p class="note">${why}</p>
${
      made.length === 0
        ? markup`<p>The student made no call.</p>`
        : markup`<ol>${made.map((call) => markup`<li>${callLine(call)}</li>`)}</ol>`
    }${cut}`;
  }
  const wanted = reference.calls.slice(0, CALLS).map((call) => ({ ...call, status: "ok" }));
  const rows = aligned(made, wanted);
  const calls = rows.length === 0
    ? markup`<p>Neither made a call.</p>`
    : markup`<table class="calls stack">
<thead><tr><th scope="col">student</th><th scope="col">teacher</th><th scope="col">compared</th></tr></thead>
<tbody>
${rows.map(row)}</tbody>
</table>
<p class="note">Calls of the same tool that executed stand beside each other so that their arguments agree best, as in the term <code>arguments</code> of the reward. What came out of calls that stand beside each other counts as the same, and so does text in another case. Where a task has several trajectories, the reward takes the best of them, and the first is shown here.</p>`;
  return markup`${calls}${cut}<p>The teacher's answer: <code>${
    clip(reference.answer, 200)
  }</code></p>`;
}

/** Rows in the order of the student's calls; what was missed comes after the teacher's call before it. */
function aligned(attempts: readonly ShownCall[], wanted: readonly ShownCall[]): readonly Row[] {
  const { pairs, repeatedAttempts, repeatedCalls } = matchCalls(
    attempts,
    wanted.map((call) => ({ ...call, arguments: call.arguments ?? {} })),
  );
  const byAttempt = new Map(pairs.map((pair) => [pair.attempt, pair]));
  const order: { readonly call: number | null; readonly row: Row }[] = attempts.map(
    (attempt, i) => {
      const pair = byAttempt.get(i);
      if (!pair) {
        const verdict = unmatched(attempt, repeatedAttempts.has(i));
        return { call: null, row: { attempt, wanted: null, verdict } };
      }
      const teacher = wanted[pair.call]!;
      const verdict = compared(attempt, teacher, pair);
      return { call: pair.call, row: { attempt, wanted: teacher, verdict } };
    },
  );
  const matched = new Set(pairs.map(({ call }) => call));
  for (const [call, teacher] of wanted.entries()) {
    if (matched.has(call)) continue;
    const verdict = repeatedCalls.has(call)
      ? markup`<span class="open">repeats another, not counted</span>`
      : markup`<span class="bad">\u2717 missed</span>`;
    const before = order.findIndex((one) => one.call === call - 1);
    order.splice(before + 1, 0, { call, row: { attempt: null, wanted: teacher, verdict } });
  }
  return order.map(({ row }) => row);
}

function unmatched({ status }: ShownCall, isRepeat: boolean): Html {
  if (isRepeat) return markup`<span class="open">repeats another, not counted</span>`;
  return status === "ok"
    ? markup`<span class="bad">\u2717 the teacher has no such call left</span>`
    : markup`<span class="bad">\u2717 did not execute</span>`;
}

/** Which arguments of a pair are equal, and which are not. */
function compared(attempt: ShownCall, wanted: ShownCall, { similarity }: CallPair): Html {
  const names = [...similarity.keys()];
  const different = names.filter((name) => similarity.get(name)! < 1);
  if (different.length === 0) {
    const alike = names.filter((name) =>
      canonicalJson(attempt.arguments?.[name]) !== canonicalJson(wanted.arguments?.[name])
    );
    return markup`<span class="good">\u2713 same</span>${
      alike.length === 0
        ? null
        : markup` <small>counting ${clip(alike.join(", "), 200)} as the same</small>`
    }`;
  }
  const more = different.length - ARGUMENTS;
  return markup`<span class="bad">\u2260 ${
    count(different.length, "argument")
  } of ${names.length}</span><ul>${
    different.slice(0, ARGUMENTS).map((name) =>
      markup`<li><code>${clip(name, 60)}</code>: ${value(attempt, name)}, teacher ${
        value(wanted, name)
      }</li>`
    )
  }${more > 0 ? markup`<li>\u2026 and ${more} more</li>` : null}</ul>`;
}

function value({ arguments: args }: ShownCall, name: string): Html {
  return args && Object.hasOwn(args, name)
    ? markup`<code>${clip(compactJson(args[name]), 120)}</code>`
    : markup`none`;
}

function row({ attempt, wanted, verdict }: Row): Html {
  return markup`<tr><td>${side("student", attempt)}</td><td>${
    side("teacher", wanted)
  }</td><td>${verdict}</td></tr>
`;
}

/** Where the table has no room for its head, each call says whose it is. */
function side(who: string, call: ShownCall | null): Html {
  return markup`<small class="who">${who}</small> ${
    call === null ? markup`<span class="open">no call</span>` : callLine(call)
  }`;
}
