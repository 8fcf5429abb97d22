// How a weight is stored: as bf16, the upper half of an f32; the first of two in the low bits.

alias Stored4 = vec2u;

fn unpack4(stored: Stored4) -> vec4f {
  return bitcast<vec4f>(vec4u(
    stored.x << 16u,
    stored.x & 0xffff0000u,
    stored.y << 16u,
    stored.y & 0xffff0000u,
  ));
}
