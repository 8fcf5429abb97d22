// Sums: y = a + beta y, y = 0, y = a + b, y += b in every row.

struct Params { count: u32, beta: f32 }
struct ClearParams { count: u32 }

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn accumulate(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= params.count / 4u) { return; }
  var value = a[at];
  if (params.beta != 0.0) { value += params.beta * y[at]; }
  y[at] = value;
}

@group(1) @binding(0) var<uniform> clear_params: ClearParams;

@compute @workgroup_size(LANES)
fn clear(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at < clear_params.count / 4u) { y[at] = vec4f(); }
}

@group(0) @binding(2) var<storage, read> b: array<vec4f>;

@compute @workgroup_size(LANES)
fn sum(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at < clear_params.count / 4u) { y[at] = a[at] + b[at]; }
}

override WIDTH4: u32 = 16;  // N/4, a constant: a CPU divides by a variable one lane at a time

// y[T, N] += b[N]
@compute @workgroup_size(LANES)
fn bias(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at < clear_params.count / 4u) { y[at] += b[at % WIDTH4]; }
}
