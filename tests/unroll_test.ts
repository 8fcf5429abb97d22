import { assertEquals, assertStringIncludes } from "@std/assert";
import { unroll } from "../src/gpu/unroll.ts";

/** Without the spaces that nobody reads. */
const tidy = (text: string) => text.replaceAll(/\s+/g, " ").trim();

Deno.test("a loop over constants becomes its turns", () => {
  assertEquals(
    tidy(unroll("for (var i = 0u; i < 3u; i++) { s += x[i]; }")),
    "{ const i = 0u; s += x[i]; } { const i = 1u; s += x[i]; } { const i = 2u; s += x[i]; }",
  );
  assertEquals(
    tidy(unroll("for (var i = 1; i < 6; i += 2) { f(i); }")),
    "{ const i = 1; f(i); } { const i = 3; f(i); } { const i = 5; f(i); }",
  );
  assertEquals(
    tidy(unroll("for (var i = 1u; i < 8u; i *= 2u) { f(i); }")),
    "{ const i = 1u; f(i); } { const i = 2u; f(i); } { const i = 4u; f(i); }",
  );
  assertEquals(tidy(unroll("a(); for (var i = 2u; i < 2u; i++) { f(i); } b();")), "a(); b();");
});

Deno.test("bounds may be made of constants and of the variables of outer loops", () => {
  const source = `const HEAD_DIM = 8u;
const WIDTH4 = (HEAD_DIM + 4u) / 4u - 1u;
for (var i = 0u; i < WIDTH4; i++) { for (var j = i; j < WIDTH4; j++) { f(i, j); } }`;
  assertStringIncludes(
    tidy(unroll(source)),
    "{ const i = 0u; { const j = 0u; f(i, j); } { const j = 1u; f(i, j); } } " +
      "{ const i = 1u; { const j = 1u; f(i, j); } }",
  );
});

Deno.test("comments are no code", () => {
  const source = `for (var i = 0u; i < 1u; i++) { // not the end: }
f(i); /* for (var j = 0u; j < 2u; j++) { g(j); } */ }`;
  assertEquals(tidy(unroll(source)), "{ const i = 0u; f(i); }");
});

Deno.test("other loops stay loops, and what is in them is unrolled", () => {
  for (
    const source of [
      "for (var i = 0u; i < params.count; i++) { f(i); }",
      "for (var i = lane; i < 8u; i += LANES) { f(i); }",
      "for (var i = 0u; i < 65u; i++) { f(i); }",
      "for (var i = 0u; i < 4u; i++) { if (x[i] > 0.0) { break; } }",
      "for (var i = 4u; i > 0u; i--) { f(i); }",
      "for (var i = 0u; i < 4u; i *= 2u) { f(i); }",
      "for (var i = 0u; i < 4u; i += 0u) { f(i); }",
      "for (var i = 0u; i < 4u; i++) { let i = 2u; f(i); }",
      "const N = 2u;\nfn f(N: u32) { for (var i = 0u; i < N; i++) { g(i); } }",
    ]
  ) assertEquals(unroll(source), source);
  assertEquals(
    tidy(unroll("for (var t = 0u; t < rows; t++) { for (var i = 0u; i < 1u; i++) { f(t, i); } }")),
    "for (var t = 0u; t < rows; t++) { { const i = 0u; f(t, i); } }",
  );
});
