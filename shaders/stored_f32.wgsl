// How a weight is stored: joined in front of every kernel, one of three. Here: as f32.

alias Stored4 = vec4f;

fn unpack4(stored: Stored4) -> vec4f { return stored; }
