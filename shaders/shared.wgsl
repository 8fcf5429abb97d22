// Joined in front of every kernel: row indexing, random numbers, NaN test.

// Workgroups are numbered in two dimensions once there are more than 65,535 of them.
fn linear_index(group: vec3u, groups: vec3u) -> u32 {
  return group.x + group.y * groups.x;
}

// `v != v` is folded away by some compilers; the bit pattern is not.
fn is_finite(v: f32) -> bool {
  return (bitcast<u32>(v) & 0x7f800000u) != 0x7f800000u;
}

// Counter-based random bits: pcg4d of Jarzynski & Olano, "Hash Functions for GPU Rendering" (2020).
// The same key gives the same bits whatever else runs, so a sample does not depend on its batch.
fn random_bits(key: vec4u) -> vec4u {
  var v = key * 1664525u + 1013904223u;
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  v ^= v >> vec4u(16u);
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  return v;
}

// Exponential(1) noise, accurate where it is small: log() may be off by 1e-6 near 1, and the
// smallest draws decide which token wins.
fn exponential(bits: u32) -> f32 {
  let u = (f32(bits >> 8u) + 0.5) * 0x1p-24;
  let series = u * (1.0 + u * (0.5 + u * (1.0 / 3.0 + u * (0.25 + u * 0.2))));
  return select(-log(1.0 - u), series, u < 0.03);
}
