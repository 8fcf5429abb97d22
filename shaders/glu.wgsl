// SwiGLU: y = silu(gate) * up with silu(g) = g / (1 + exp(-g)).

struct Params { count: u32 }
struct BackwardParams { count: u32, beta_gate: f32, beta_up: f32 }

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read> gate: array<vec4f>;
@group(0) @binding(1) var<storage, read> up: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn forward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= params.count / 4u) { return; }
  let g = gate[at];
  y[at] = g / (1.0 + exp(-g)) * up[at];
}

@group(0) @binding(2) var<storage, read> dy: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> dgate: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> dup: array<vec4f>;
@group(1) @binding(0) var<uniform> backward_params: BackwardParams;

@compute @workgroup_size(LANES)
fn backward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= backward_params.count / 4u) { return; }
  let g = gate[at];
  let d = dy[at];
  let sigmoid = 1.0 / (1.0 + exp(-g));
  var dg = d * up[at] * sigmoid * (1.0 + g * (1.0 - sigmoid));
  var du = d * g * sigmoid;
  if (backward_params.beta_gate != 0.0) { dg += backward_params.beta_gate * dgate[at]; }
  if (backward_params.beta_up != 0.0) { du += backward_params.beta_up * dup[at]; }
  dgate[at] = dg;
  dup[at] = du;
}
