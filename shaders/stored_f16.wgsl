// How a weight is stored: as f16; needs no `shader-f16`.

alias Stored4 = Words2;

fn unpack4(stored: Stored4) -> vec4f {
  let words = words2(stored);
  return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}
