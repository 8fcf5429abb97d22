// How kernels read what they don't write: joined in front of every kernel, one of two. Here: 32 bits
// at a time.

// Two words, and four f32.
alias Words2 = vec2u;
alias Floats4 = vec4f;

fn words2(read: Words2) -> vec2u { return read; }

fn floats4(read: Floats4) -> vec4f { return read; }
