/**
 * Checks of sampling: which tokens may be drawn, how often each is, their log-probabilities, and
 * how a slot's state moves on.
 *
 * @module
 */

import { samplingFilter } from "../reference/mod.ts";
import {
  beginRows,
  NONE,
  sampleNext,
  type SamplingOptions,
  SLOT_WORDS,
  type SlotState,
  startSlots,
} from "../sample.ts";
import {
  type Case,
  type Comparison,
  contained,
  type KernelCheck,
  kernelCheck,
  relativeError,
  same,
} from "./check.ts";
import { logSoftmax, repeated, slotState, stateWords } from "./slots.ts";

const NO_STOPS = [NONE, NONE] as const;

const unfiltered: SamplingOptions = { temperature: 1, topK: 0, topP: 1, seed: 1 };
const greedy: SamplingOptions = { temperature: 0, topK: 0, topP: 1, seed: 7 };

/** Chi-square value that a true distribution exceeds once in 10,000 times (Wilson & Hilferty). */
function chiSquareLimit(freedom: number): number {
  const spread = 2 / (9 * freedom);
  return freedom * (1 - spread + 3.719 * Math.sqrt(spread)) ** 3;
}

/**
 * Many draws from one distribution: only tokens that the reference keeps occur, as often as they
 * should, with the log-probability that they have before filtering. Each kept token is expected
 * 30 times and more, so that one which never occurs fails the chi-square test.
 */
function distribution(V: number, S: number, steps: number, options: SamplingOptions): Case {
  return (bench) => {
    const logits = bench.random([V]);
    // Two slots must differ by their stream alone, and two steps of a slot by their position.
    const rows = Array.from({ length: S }, (_, s) => [0, 5, 1000, s]);
    const slots = slotState(bench, rows, steps, options);
    const input = bench.tensor([S, V], repeated(logits, S));
    for (let step = 0; step < steps; step++) {
      sampleNext(bench.gpu, input, slots, step, NO_STOPS);
    }
    const { probabilities } = samplingFilter(logits, options);
    const exact = logSoftmax(logits, options.temperature || 1);
    return [{
      what: "draws",
      tensor: slots.ring,
      error: (content) => {
        const tokens = new Uint32Array(content);
        const logprobs = new Float32Array(content);
        const counts = new Uint32Array(V);
        let worst = 0;
        for (let i = 0; i < S * steps; i++) {
          const token = tokens[2 * i]!;
          if (!(probabilities[token]! > 0)) return Infinity;
          counts[token]!++;
          worst = Math.max(worst, relativeError([logprobs[2 * i + 1]!], [exact[token]!], 1));
        }
        let chiSquare = 0;
        let freedom = -1;
        probabilities.forEach((p, token) => {
          if (p === 0) return;
          freedom++;
          chiSquare += (counts[token]! - S * steps * p) ** 2 / (S * steps * p);
        });
        return freedom > 0 && chiSquare > chiSquareLimit(freedom) ? Infinity : worst;
      },
    }];
  };
}

/** What one step writes; rows of (token, position, end, stream) before and after. */
function transition(
  logits: readonly Float32Array[],
  before: readonly (readonly number[])[],
  after: readonly (readonly number[])[],
  drawn: readonly number[],
  stops: readonly [number, number],
): Case {
  return (bench) => {
    const V = logits[0]!.length;
    const S = before.length;
    const slots = slotState(bench, before, 3, greedy);
    const input = bench.tensor([S, V], Float32Array.from(logits.flatMap((row) => [...row])));
    sampleNext(bench.gpu, input, slots, 1, stops);
    const is = (what: string, tensor: SlotState["ring"], expected: readonly number[]) => ({
      what,
      tensor,
      error: (content: ArrayBuffer) =>
        expected.every((value, i) => new Uint32Array(content)[i] === value) ? 0 : Infinity,
    });
    const comparisons: Comparison[] = [
      is("state", slots.state, [...stateWords(after, greedy)]),
      is("tokens", slots.tokens, after.map(([token]) => token!)),
      is("positions", slots.positions, after.map(([, position]) => position!)),
      {
        what: "ring",
        tensor: slots.ring,
        error: (content) => {
          const tokens = new Uint32Array(content);
          const logprobs = new Float32Array(content);
          // Row 1 alone is written.
          for (let i = 0; i < 2 * S; i++) if (tokens[i] || tokens[4 * S + i]) return Infinity;
          let worst = 0;
          drawn.forEach((token, s) => {
            const at = 2 * S + 2 * s;
            const expected = token === NONE ? 0 : logSoftmax(logits[s]!, 1)[token]!;
            const error = tokens[at] === token
              ? relativeError([logprobs[at + 1]!], [expected], 1)
              : Infinity;
            worst = Math.max(worst, error);
          });
          return worst;
        },
      },
    ];
    return comparisons;
  };
}

/** Logits with their maximum at `token`. */
function peak(V: number, token: number, height = 3): Float32Array {
  return Float32Array.from({ length: V }, (_, v) => v === token ? height : Math.sin(v));
}

const draws: Record<string, Case> = {};
for (
  const [V, S, steps, options] of [
    [7, 1024, 20, {}],
    [100, 1024, 20, { temperature: 1.7 }],
    [12, 1024, 20, { temperature: 0.4 }],
    [20, 1024, 4, { topK: 5 }],
    [20, 1024, 1, { topK: 1 }],
    [9, 1024, 4, { topK: 50 }],
    [20, 1024, 4, { topP: 0.6 }],
    [20, 1024, 1, { topP: 0 }],
    [33, 1024, 4, { topK: 10, topP: 0.8, temperature: 1.5 }],
    [65, 1024, 1, { temperature: 0 }],
    [50_000, 8, 2, { topK: 3, topP: 0.6 }],
  ] as const
) {
  const label = `${S * steps} draws of ${V} tokens ${JSON.stringify(options)}`;
  draws[label] = distribution(V, S, steps, { ...unfiltered, ...options });
}

Object.assign<typeof draws, typeof draws>(draws, {
  "equal logits: greedy takes the lower token": transition(
    [Float32Array.of(0, 2, 1, 2, 2, -1, 0, 0, 2, 2)],
    [[5, 3, 9, 0]],
    [[1, 4, 9, 0]],
    [1],
    NO_STOPS,
  ),
  "equal logits at the threshold are all kept": (bench) => {
    const V = 10;
    const S = 500;
    const logits = Float32Array.of(0, 2, 1, 2, 2, -1, 0, 0, 2, 2);
    const rows = Array.from({ length: S }, (_, s) => [0, 0, 9, s]);
    const slots = slotState(bench, rows, 1, { ...unfiltered, topK: 2 });
    const input = bench.tensor([S, V], repeated(logits, S));
    sampleNext(bench.gpu, input, slots, 0, NO_STOPS);
    return [{
      what: "draws",
      tensor: slots.ring,
      error: (content) => {
        const seen = new Set(new Uint32Array(content).filter((_, i) => i % 2 === 0));
        return seen.symmetricDifference(new Set([1, 3, 4, 8, 9])).size === 0 ? 0 : Infinity;
      },
    }];
  },
  "idle slots stay, limits and both stop tokens halt": transition(
    [4, 5, 6, 7, 8, 9].map((token) => peak(70, token)),
    [
      [1, NONE, 50, 0],
      [1, 3, 50, 1],
      [1, 3, 50, 2],
      [1, 3, 5, 3],
      [1, 3, 4, 4],
      [1, 3, 50, 5],
    ],
    [
      [1, NONE, 50, 0],
      [5, NONE, 50, 1],
      [6, 4, 50, 2],
      [7, 4, 5, 3],
      [8, NONE, 4, 4],
      [9, NONE, 50, 5],
    ],
    [NONE, 5, 6, 7, 8, 9],
    [5, 9],
  ),
  "logits that are NaN draw nothing and halt": (bench) => {
    const slots = slotState(bench, [[1, 3, 50, 0]], 1, unfiltered);
    const input = bench.tensor([1, 12], new Float32Array(12).fill(NaN));
    sampleNext(bench.gpu, input, slots, 0, NO_STOPS);
    return [
      {
        what: "ring",
        tensor: slots.ring,
        error: (content) =>
          new Uint32Array(content)[0] === NONE && Number.isNaN(new Float32Array(content)[1])
            ? 0
            : Infinity,
      },
      {
        what: "positions",
        tensor: slots.positions,
        error: (content) => new Uint32Array(content)[0] === NONE ? 0 : Infinity,
      },
    ];
  },
  "one NaN among the logits shows in the log-probability": (bench) => {
    const slots = slotState(bench, [[1, 3, 50, 0]], 1, unfiltered);
    const logits = bench.random([20]);
    logits[13] = NaN;
    const input = bench.tensor([1, 20], logits);
    sampleNext(bench.gpu, input, slots, 0, NO_STOPS);
    return [{
      what: "logprob",
      tensor: slots.ring,
      error: (content) => Number.isNaN(new Float32Array(content)[1]) ? 0 : Infinity,
    }];
  },
  "rows of some slots, in an order of their own": (bench) => {
    const all = [[1, 3, 50, 0], [2, 4, 50, 1], [3, 5, 50, 2], [4, NONE, 50, 3], [5, 7, 50, 4]];
    const order = Uint32Array.of(4, 3, 1);
    const rows = order.length;
    const few = slotState(bench, [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], 1, greedy);
    const { state } = slotState(bench, all, 1, greedy);
    const slots = { ...few, state, slots: bench.tensor([rows], order) };
    const begun = { tokens: bench.blank([rows]), positions: bench.blank([rows]) };
    beginRows(bench.gpu, { ...slots, ...begun });
    const logits = [9, 8, 7].flatMap((token) => [...peak(12, token)]);
    const input = bench.tensor([rows, 12], Float32Array.from(logits));
    sampleNext(bench.gpu, input, slots, 0, NO_STOPS);
    const after = all.map((row, slot) =>
      slot === 4 ? [9, 8, 50, 4] : slot === 1 ? [7, 5, 50, 1] : row
    );
    return [
      same("first tokens", begun.tokens, Uint32Array.of(5, 4, 2)),
      same("first positions", begun.positions, Uint32Array.of(7, NONE, 4)),
      contained(begun.tokens),
      contained(begun.positions),
      same("state", state, stateWords(after, greedy)),
      // The row of an idle slot may have been another's before.
      same("positions", slots.positions, Uint32Array.of(8, NONE, 5)),
    ];
  },
  "slots that begin, several workgroups of them": (bench) => {
    const S = 77;
    const before = Array.from({ length: S }, (_, s) => [s, NONE, 1, 2]);
    const { state } = slotState(bench, before, 1, greedy);
    const sampling = { temperature: 0.7, topK: 11, topP: 0.3, seed: -5 };
    const after = before.map((row, s) =>
      s % 3 === 1 ? stateWords([row], greedy) : stateWords([[10 + s, 20, 30, NONE - s]], sampling)
    );
    const begun = [...after.keys()].filter((s) => s % 3 !== 1).reverse();
    const starts = Uint32Array.from(begun.flatMap((s) => [s, ...after[s]!]));
    startSlots(bench.gpu, { state }, bench.tensor([begun.length, 1 + SLOT_WORDS], starts));
    return [same("state", state, Uint32Array.from(after.flatMap((words) => [...words])))];
  },
  "each slot draws in its own way": (bench) => {
    const [V, steps] = [40, 6];
    const own = [
      greedy,
      unfiltered,
      { ...unfiltered, seed: 2 },
      { ...unfiltered, temperature: 2, topK: 4 },
      { ...unfiltered, topP: 0.4 },
    ];
    const rows = own.map((_, s) => [0, 5, 1000, s % 3]);
    const logits = bench.random([V], 2);
    const mixed = slotState(bench, rows, steps, greedy);
    const words = own.flatMap((sampling, s) => [...stateWords([rows[s]!], sampling)]);
    const slots = {
      ...mixed,
      state: bench.tensor([own.length, SLOT_WORDS], Uint32Array.from(words)),
    };
    const draw = (slots: SlotState, S: number) => {
      const input = bench.tensor([S, V], repeated(logits, S));
      for (let step = 0; step < steps; step++) sampleNext(bench.gpu, input, slots, step, NO_STOPS);
      return slots.ring;
    };
    let together = new Uint32Array();
    return [
      {
        what: "together",
        tensor: draw(slots, own.length),
        error: (content) => (together = new Uint32Array(content), 0),
      },
      ...own.map((sampling, s): Comparison => ({
        what: `alone ${JSON.stringify(sampling)}`,
        tensor: draw(slotState(bench, [rows[s]!], steps, sampling), 1),
        error: (content) =>
          new Uint32Array(content).every((word, i) =>
              word === together[2 * ((i >> 1) * own.length + s) + i % 2]
            )
            ? 0
            : Infinity,
      })),
    ];
  },
  "alone or in a batch, in any slot: the same draws": (bench) => {
    const [V, S, steps] = [50, 9, 4];
    const options = { temperature: 1, topK: 20, topP: 0.9, seed: 11 };
    const logits = bench.random([S, V], 3);
    const rows = Array.from({ length: S }, (_, s) => [0, 10 + s, 1000, 100 + s]);
    const draw = (order: readonly number[]) => {
      const slots = slotState(bench, order.map((s) => rows[s]!), steps, options);
      const own = order.flatMap((s) => [...logits.subarray(s * V, (s + 1) * V)]);
      const input = bench.tensor([order.length, V], Float32Array.from(own));
      for (let step = 0; step < steps; step++) {
        sampleNext(bench.gpu, input, slots, step, NO_STOPS);
      }
      return slots.ring;
    };
    const everyone = Array.from({ length: S }, (_, s) => s);
    let batch = new Uint32Array();
    /** Draws of slot s (token and logprob bits), in a ring of n slots. */
    const of = (ring: Uint32Array, s: number, n: number) =>
      [...ring].filter((_, i) => Math.floor(i / 2) % n === s).join();
    return [
      {
        what: "batch",
        tensor: draw(everyone),
        error: (content) => (batch = new Uint32Array(content), 0),
      },
      {
        what: "reversed",
        tensor: draw(everyone.toReversed()),
        error: (content) => {
          const ring = new Uint32Array(content);
          return everyone.every((s) => of(ring, S - 1 - s, S) === of(batch, s, S)) ? 0 : Infinity;
        },
      },
      ...[0, 4, 8].map((s): Comparison => ({
        what: "alone",
        tensor: draw([s]),
        error: (content) => of(new Uint32Array(content), 0, 1) === of(batch, s, S) ? 0 : Infinity,
      })),
    ];
  },
});

/** Sampling. */
export const samplingChecks: readonly KernelCheck[] = [
  kernelCheck("sample", ["sample.start", "sample.begin", "sample.next"], 1e-5, draws),
];
