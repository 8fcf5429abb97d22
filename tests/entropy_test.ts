// How much entropy is asked for, and which tokens are uncertain enough to learn from.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { EntropyController, topEntropyTokens } from "../src/rl/entropy.ts";

Deno.test("without a target the weight stays as it is", () => {
  const fixed = new EntropyController({ coefficient: 0.01, target: null });
  fixed.observe(0);
  fixed.observe(9);
  assertEquals([fixed.coefficient, fixed.active], [0.01, true]);
  assert(!new EntropyController({ coefficient: 0, target: null }).active);
});

Deno.test("with a target it grows while entropy is not above it, and counts only then", () => {
  const steered = new EntropyController({ coefficient: 0.01, target: 0.5 });
  const applied = [0.4, 0.5, 0.6, 0.6, 0.3].map((entropy) => {
    const now = steered.coefficient;
    steered.observe(entropy);
    return now;
  });
  // Inside: 0.01, 0.015, 0.02, 0.015, 0.01, 0.015.
  [0, 0.015, 0.02, 0, 0].forEach((expected, i) => assertAlmostEquals(applied[i]!, expected, 1e-12));
  assertAlmostEquals(steered.coefficient, 0.015, 1e-12);
  assert(steered.active);
});

Deno.test("the weight stays between 0 and 1", () => {
  const steered = new EntropyController({ coefficient: 0.1, target: 1, delta: 0.5 });
  for (let i = 0; i < 4; i++) steered.observe(0);
  assertEquals(steered.coefficient, 1);
  for (let i = 0; i < 4; i++) steered.observe(2);
  steered.observe(0.5);
  assertEquals(steered.coefficient, 0.5);
});

/** A sequence of one prompt token and these. */
const sequence = (...mask: number[]) => ({
  ids: new Uint32Array(mask.length + 1),
  mask: Uint8Array.of(0, ...mask),
});
const entropies = (...values: number[]) => Float32Array.of(99, ...values);

Deno.test("the most uncertain tokens are those of the whole batch, whosever they are", () => {
  const batch = [sequence(1, 0, 1), sequence(1, 1)];
  const uncertain = [entropies(3, 99, 1), entropies(0, 2)];
  const kept = (share: number) =>
    topEntropyTokens(batch, uncertain, share).map((counts) => [...counts]);
  // The median of 0, 1, 2, 3 is 1.5, the upper quartile 2.25.
  assertEquals(kept(0.5), [[0, 1, 0, 0], [0, 0, 1]]);
  assertEquals(kept(0.25), [[0, 1, 0, 0], [0, 0, 0]]);
  assertEquals(kept(1), [[0, 1, 0, 1], [0, 1, 1]]);
});

Deno.test("tokens that tie with the last one are kept, and no token is no trouble", () => {
  const even = topEntropyTokens([sequence(1, 1, 1)], [entropies(2, 2, 2)], 0.1);
  assertEquals([...even[0]!], [0, 1, 1, 1]);
  assertEquals([...topEntropyTokens([sequence(0)], [entropies(1)], 0.5)[0]!], [0, 0]);
});
