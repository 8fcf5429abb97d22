// How a weight is stored: joined in front of every kernel, one of three. Here: as f32.

alias Stored4 = Floats4;

fn unpack4(stored: Stored4) -> vec4f { return floats4(stored); }
