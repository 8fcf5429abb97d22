// y[C,R] = x[R,C]^T; keeps the copy of a weight that the forward pass multiplies by.

struct Params { rows: u32, columns: u32 }

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn forward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let rows4 = params.rows / 4u;
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= params.columns * rows4) { return; }
  let column = at / rows4;
  let row = (at % rows4) * 4u;
  y[at] = vec4f(
    x[row * params.columns + column],
    x[(row + 1u) * params.columns + column],
    x[(row + 2u) * params.columns + column],
    x[(row + 3u) * params.columns + column],
  );
}
