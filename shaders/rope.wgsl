// Rotary position embedding: rotates the pairs (x[i], x[i + D/2]) of every head by position * theta^(-2i/D).
//
// Backward is the same rotation with the sign of the angle flipped. Cosines and sines come from
// a table computed on the host in f64: the shader's own sin() loses digits at large angles.

struct Params { rows: u32, heads: u32, half: u32, sign: f32, beta: f32 }

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read> x: array<vec4f>;                // [T, H, D/4]
@group(0) @binding(1) var<storage, read> positions: array<u32>;          // [T]
@group(0) @binding(2) var<storage, read> cosines: array<vec4f>;          // [positions, D/8]
@group(0) @binding(3) var<storage, read> sines: array<vec4f>;            // [positions, D/8]
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;          // [T, H, D/4]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn rotate(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let half4 = params.half / 4u;
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= params.rows * params.heads * half4) { return; }
  let i = at % half4;
  let head = at / half4;
  let angle = positions[head / params.heads] * half4 + i;
  let cosine = cosines[angle];
  let sine = params.sign * sines[angle];
  let first = head * 2u * half4 + i;
  let second = first + half4;
  var a = x[first] * cosine - x[second] * sine;
  var b = x[second] * cosine + x[first] * sine;
  if (params.beta != 0.0) {
    a += params.beta * y[first];
    b += params.beta * y[second];
  }
  y[first] = a;
  y[second] = b;
}
