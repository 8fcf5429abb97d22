// y[n] = x[rows[n]]: keeps the rows that a loss looks at, so that the LM head skips the others.

struct Params { rows: u32 }
struct BackwardParams { rows: u32, beta: f32 }

override LANES: u32 = 256;
override WIDTH4: u32 = 16;  // C/4, a constant: a CPU divides by a variable one lane at a time

@group(0) @binding(0) var<storage, read> rows: array<u32>;               // [N]
@group(0) @binding(1) var<storage, read> x: array<vec4f>;                // [T, C/4]
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;          // [N, C/4]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn forward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= params.rows * WIDTH4) { return; }
  y[at] = x[rows[at / WIDTH4] * WIDTH4 + at % WIDTH4];
}

// The host inverts the index (at most one n per row), so that the gradient is a gather too.
@group(0) @binding(0) var<storage, read> inverse: array<u32>;            // [T], 0xffffffff where not selected
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;               // [N, C/4]
@group(0) @binding(2) var<storage, read_write> dx: array<vec4f>;         // [T, C/4]
@group(1) @binding(0) var<uniform> backward_params: BackwardParams;

@compute @workgroup_size(LANES)
fn backward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= backward_params.rows * WIDTH4) { return; }
  let n = inverse[at / WIDTH4];
  var value = vec4f();
  if (n != 0xffffffffu) { value = dy[n * WIDTH4 + at % WIDTH4]; }
  if (backward_params.beta != 0.0) { value += backward_params.beta * dx[at]; }
  dx[at] = value;
}
