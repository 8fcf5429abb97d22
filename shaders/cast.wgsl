// bf16 is the upper half of an f32; two are packed in a u32, the first in the low bits.

struct Params { pairs: u32 }

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read> packed: array<u32>;
@group(0) @binding(1) var<storage, read_write> wide: array<vec2f>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn bf16_to_f32(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= params.pairs) { return; }
  let pair = packed[at];
  wide[at] = vec2f(bitcast<f32>(pair << 16u), bitcast<f32>(pair & 0xffff0000u));
}

@group(0) @binding(0) var<storage, read> values: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> narrow: array<u32>;

// Round to nearest, ties to even; a NaN keeps its upper bits and is made quiet.
fn round_bf16(v: f32) -> u32 {
  let bits = bitcast<u32>(v);
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return (bits >> 16u) | 0x40u; }
  return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}

@compute @workgroup_size(LANES)
fn f32_to_bf16(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= params.pairs) { return; }
  let pair = values[at];
  narrow[at] = round_bf16(pair.x) | (round_bf16(pair.y) << 16u);
}
