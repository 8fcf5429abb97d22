// How kernels read what they don't write: 64 bits at a time, for adapters that take as long to check
// and fetch 32.

alias Words2 = u64;
alias Floats4 = vec2<u64>;

fn words2(read: Words2) -> vec2u { return vec2u(u32(read), u32(read >> 32u)); }

fn floats4(read: Floats4) -> vec4f {
  return bitcast<vec4f>(vec4u(words2(read.x), words2(read.y)));
}
