// The activation of an MLP, gated (y = act(gate) * up) or not (y = act(x)).
//
// Both activations are x times a logistic function: SiLU is x s(x), and GELU in its tanh form
// (Hendrycks & Gimpel 2016) x s(2 sqrt(2/pi) (x + 0.044715 x^3)), since (1 + tanh z)/2 = s(2 z).
// Gate and up come out of one product, side by side in each row.

struct Params { rows: u32, width: u32, beta: f32 }

override LANES: u32 = 256;
override GELU: bool = false;

@group(0) @binding(0) var<storage, read> gate_up: array<vec4f>;          // [T, 2, F/4]
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;          // [T, F/4]
@group(1) @binding(0) var<uniform> params: Params;

const RISE = 1.5957691216057308;  // 2 sqrt(2/pi)
const BEND = 0.044715;

fn logistic(v: vec4f) -> vec4f {
  var argument = v;
  if (GELU) { argument = RISE * v * fma(BEND * v, v, vec4f(1.0)); }
  return 1.0 / (1.0 + exp(-argument));
}

// d act(v) / dv, given s = logistic(v).
fn slope(v: vec4f, s: vec4f) -> vec4f {
  var inner = vec4f(1.0);
  if (GELU) { inner = RISE * fma(3.0 * BEND * v, v, vec4f(1.0)); }
  return s * fma(v * inner, 1.0 - s, vec4f(1.0));
}

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
  y[at] = g * logistic(g) * gate_up[first + width4];
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
  let s = logistic(g);
  var dgate = d * gate_up[first + width4] * slope(g, s);
  var dup = d * g * s;
  if (params.beta != 0.0) {
    dgate += params.beta * dgate_up[first];
    dup += params.beta * dgate_up[first + width4];
  }
  dgate_up[first] = dgate;
  dgate_up[first + width4] = dup;
}

@group(0) @binding(0) var<storage, read> x: array<vec4f>;                // [T, F/4]
@group(0) @binding(2) var<storage, read_write> dx: array<vec4f>;         // [T, F/4]

@compute @workgroup_size(LANES)
fn plain_forward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= params.rows * params.width / 4u) { return; }
  y[at] = x[at] * logistic(x[at]);
}

@compute @workgroup_size(LANES)
fn plain_backward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= params.rows * params.width / 4u) { return; }
  var value = dy[at] * slope(x[at], logistic(x[at]));
  if (params.beta != 0.0) { value += params.beta * dx[at]; }
  dx[at] = value;
}
