// LayerNorm (Ba et al. 2016): y = (x - mean) * rstd * w + b with rstd = 1 / sqrt(var + epsilon).
// row_lanes.wgsl says which lanes go through a row.

struct Params { rows: u32, width: u32, epsilon: f32 }
struct BackwardParams { rows: u32, width: u32, beta: f32 }
struct PartialParams { rows: u32, width: u32, block: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;                // [T, C/4]
@group(0) @binding(1) var<storage, read> w: array<vec4f>;                // [C/4]
@group(0) @binding(2) var<storage, read> b: array<vec4f>;                // [C/4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;          // [T, C/4]
@group(0) @binding(4) var<storage, read_write> moments: array<vec2f>;    // [T]: mean, rstd
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
  var sums = vec4f();
  for (var i = at.part; i < width4; i += ROW_LANES) { sums += x[base + i]; }
  let mean = sum_over_row(lane.x, dot(sums, vec4f(1.0))) / f32(params.width);
  var squares = vec4f();
  for (var i = at.part; i < width4; i += ROW_LANES) {
    let v = x[base + i] - mean;
    squares = fma(v, v, squares);
  }
  let variance = sum_over_row(lane.x, dot(squares, vec4f(1.0))) / f32(params.width);
  let r = 1.0 / sqrt(variance + params.epsilon);
  if (at.part == 0u && width4 > 0u) { moments[at.row] = vec2f(mean, r); }
  for (var i = at.part; i < width4; i += ROW_LANES) { y[base + i] = fma((x[base + i] - mean) * r, w[i], b[i]); }
}

// With n = (x - mean) rstd and g = w dy: dx = rstd (g - mean(g) - n mean(g n))
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;               // [T, C/4]
@group(0) @binding(4) var<storage, read> saved_moments: array<vec2f>;    // [T]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4f>;         // [T, C/4]
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
  let saved = saved_moments[at.row];
  var sums = vec4f();
  var products = vec4f();
  for (var i = at.part; i < width4; i += ROW_LANES) {
    let g = w[i] * dy[base + i];
    sums += g;
    products = fma(g, (x[base + i] - saved.x) * saved.y, products);
  }
  let mean = sum_over_row(lane.x, dot(sums, vec4f(1.0))) / f32(backward_params.width);
  let scale = sum_over_row(lane.x, dot(products, vec4f(1.0))) / f32(backward_params.width);
  for (var i = at.part; i < width4; i += ROW_LANES) {
    let n = (x[base + i] - saved.x) * saved.y;
    var value = saved.y * (w[i] * dy[base + i] - mean - n * scale);
    if (backward_params.beta != 0.0) { value += backward_params.beta * dx[base + i]; }
    dx[base + i] = value;
  }
}

// dw = sum over rows of dy n, as one partial sum per block of rows; reduce.fold_rows adds them up.
// db is the sum of dy.
@group(0) @binding(3) var<storage, read_write> partial_sums: array<vec4f>;   // [blocks, C/4]
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
    let saved = saved_moments[row];
    sum = fma(dy[row * width4 + column], (x[row * width4 + column] - saved.x) * saved.y, sum);
  }
  partial_sums[group.y * width4 + column] = sum;
}
