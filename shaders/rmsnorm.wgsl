// y = x * rstd * (offset + w) with rstd = 1 / sqrt(mean(x^2) + epsilon). row_lanes.wgsl says
// which lanes go through a row.

struct Params { rows: u32, width: u32, epsilon: f32, offset: f32 }
struct BackwardParams { rows: u32, width: u32, beta: f32, offset: f32 }
struct PartialParams { rows: u32, width: u32, block: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;                // [T, C/4]
@group(0) @binding(1) var<storage, read> w: array<vec4f>;                // [C/4]
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;          // [T, C/4]
@group(0) @binding(3) var<storage, read_write> rstd: array<f32>;         // [T]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn forward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = row_part(group, groups, lane.x);
  // A row past the end has no elements.
  let width4 = select(0u, params.width / 4u, at.row < params.rows);
  let base = at.row * width4;
  var squares = vec4f();
  for (var i = at.part; i < width4; i += ROW_LANES) {
    let v = x[base + i];
    squares = fma(v, v, squares);
  }
  let mean = sum_over_row(lane.x, dot(squares, vec4f(1.0))) / f32(params.width);
  let r = 1.0 / sqrt(mean + params.epsilon);
  if (at.part == 0u && width4 > 0u) { rstd[at.row] = r; }
  for (var i = at.part; i < width4; i += ROW_LANES) { y[base + i] = x[base + i] * r * (w[i] + params.offset); }
}

// With w standing for offset + w: dx = rstd (w dy - x rstd^2 mean(w dy x))
@group(0) @binding(4) var<storage, read> dy: array<vec4f>;               // [T, C/4]
@group(0) @binding(5) var<storage, read> saved_rstd: array<f32>;         // [T]
@group(0) @binding(6) var<storage, read_write> dx: array<vec4f>;         // [T, C/4]
@group(1) @binding(0) var<uniform> backward_params: BackwardParams;

@compute @workgroup_size(LANES)
fn backward_x(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = row_part(group, groups, lane.x);
  // A row past the end has no elements.
  let width4 = select(0u, backward_params.width / 4u, at.row < backward_params.rows);
  let base = at.row * width4;
  var products = vec4f();
  for (var i = at.part; i < width4; i += ROW_LANES) {
    products = fma((w[i] + backward_params.offset) * dy[base + i], x[base + i], products);
  }
  let r = saved_rstd[at.row];
  let product = sum_over_row(lane.x, dot(products, vec4f(1.0)));
  let scale = r * r * product / f32(backward_params.width);
  for (var i = at.part; i < width4; i += ROW_LANES) {
    var value = r * ((w[i] + backward_params.offset) * dy[base + i] - x[base + i] * scale);
    if (backward_params.beta != 0.0) { value += backward_params.beta * dx[base + i]; }
    dx[base + i] = value;
  }
}

// dw = sum over rows of dy x rstd, as one partial sum per block of rows; reduce.fold_rows adds them up
@group(0) @binding(7) var<storage, read_write> partial_sums: array<vec4f>;   // [blocks, C/4]
@group(1) @binding(0) var<uniform> partial_params: PartialParams;

@compute @workgroup_size(LANES)
fn backward_w(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let width4 = partial_params.width / 4u;
  let column = group.x * LANES + lane.x;
  if (column >= width4) { return; }
  let first = group.y * partial_params.block;
  let last = min(first + partial_params.block, partial_params.rows);
  var sum = vec4f();
  for (var row = first; row < last; row++) {
    sum = fma(dy[row * width4 + column], x[row * width4 + column] * saved_rstd[row], sum);
  }
  partial_sums[group.y * width4 + column] = sum;
}
