// How a weight is stored: as bf16, the upper half of an f32; the first of two in the low bits.

alias Stored4 = Words2;

fn unpack4(stored: Stored4) -> vec4f {
  let words = words2(stored);
  return bitcast<vec4f>(vec4u(
    words.x << 16u,
    words.x & 0xffff0000u,
    words.y << 16u,
    words.y & 0xffff0000u,
  ));
}
