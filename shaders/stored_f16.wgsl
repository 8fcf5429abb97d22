// How a weight is stored: as f16; needs no `shader-f16`.

alias Stored4 = vec2u;

fn unpack4(stored: Stored4) -> vec4f {
  return vec4f(unpack2x16float(stored.x), unpack2x16float(stored.y));
}
