// SwiGLU: y = silu(gate) * up with silu(g) = g / (1 + exp(-g)). Gate and up come out of one product,
// side by side in each row.

struct Params { rows: u32, width: u32, beta: f32 }

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read> gate_up: array<vec4f>;          // [T, 2, F/4]
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;          // [T, F/4]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn forward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let width4 = params.width / 4u;
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= params.rows * width4) { return; }
  let first = at + at / width4 * width4;
  let g = gate_up[first];
  y[at] = g / (1.0 + exp(-g)) * gate_up[first + width4];
}

@group(0) @binding(1) var<storage, read> dy: array<vec4f>;               // [T, F/4]
@group(0) @binding(2) var<storage, read_write> dgate_up: array<vec4f>;   // [T, 2, F/4]

@compute @workgroup_size(LANES)
fn backward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let width4 = params.width / 4u;
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= params.rows * width4) { return; }
  let first = at + at / width4 * width4;
  let g = gate_up[first];
  let d = dy[at];
  let sigmoid = 1.0 / (1.0 + exp(-g));
  var dgate = d * gate_up[first + width4] * sigmoid * (1.0 + g * (1.0 - sigmoid));
  var dup = d * g * sigmoid;
  if (params.beta != 0.0) {
    dgate += params.beta * dgate_up[first];
    dup += params.beta * dgate_up[first + width4];
  }
  dgate_up[first] = dgate;
  dgate_up[first + width4] = dup;
}
