// Sums in a fixed order: partial sums, then a fold. No float atomics, so runs repeat bit for bit.

struct RowParams { rows: u32, width: u32, beta: f32 }
struct BlockParams { rows: u32, width: u32, block: u32 }
struct SquareParams { count: u32, block: u32, slot: u32 }
struct ClipParams { partials: u32, limit: f32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(1) @binding(0) var<uniform> row_params: RowParams;

// y[c] = beta y[c] + sum over rows of x[row, c]; one lane per vec4 of columns
@compute @workgroup_size(LANES)
fn fold_rows(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let width4 = row_params.width / 4u;
  let column = group.x * LANES + lane.x;
  if (column >= width4) { return; }
  var sum = vec4f();
  for (var row = 0u; row < row_params.rows; row++) { sum += x[row * width4 + column]; }
  if (row_params.beta != 0.0) { sum += row_params.beta * y[column]; }
  y[column] = sum;
}

@group(1) @binding(0) var<uniform> block_params: BlockParams;

// y[b, c] = sum over the rows of block b of x[row, c]; the first pass over many rows
@compute @workgroup_size(LANES)
fn partial_rows(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let width4 = block_params.width / 4u;
  let column = group.x * LANES + lane.x;
  if (column >= width4) { return; }
  let first = group.y * block_params.block;
  var sum = vec4f();
  for (var row = first; row < min(first + block_params.block, block_params.rows); row++) {
    sum += x[row * width4 + column];
  }
  y[group.y * width4 + column] = sum;
}

@group(0) @binding(1) var<storage, read_write> partial_sums: array<f32>;
@group(1) @binding(0) var<uniform> square_params: SquareParams;

// partial_sums[slot + b] = sum of x^2 over block b (`block` vec4s) of one tensor
@compute @workgroup_size(LANES)
fn sum_squares(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let first = group.x * square_params.block;
  let last = min(first + square_params.block, square_params.count / 4u);
  var sum = vec4f();
  for (var i = first + lane.x; i < last; i += LANES) { sum = fma(x[i], x[i], sum); }
  let own = dot(sum, vec4f(1.0));
  var total = sum_over_row(lane.x, own);
  if (ROW_LANES == 1u) {
    // Where barriers are dear: one barrier, and one lane adds up.
    shares[lane.x] = own;
    workgroupBarrier();
    total = 0.0;
    for (var n = 0u; n < LANES && lane.x == 0u; n++) { total += shares[n]; }
  }
  if (lane.x == 0u) { partial_sums[square_params.slot + group.x] = total; }
}

@group(0) @binding(0) var<storage, read> squares: array<f32>;
@group(0) @binding(1) var<storage, read_write> clip: array<f32>;         // [norm, scale, finite]
@group(1) @binding(0) var<uniform> clip_params: ClipParams;

// Global norm, and the scale that brings it down to the limit as torch.nn.utils.clip_grad_norm_ does.
// A norm that is not finite gives finite = 0, on which adamw leaves the weights alone.
@compute @workgroup_size(LANES)
fn clip_norm(@builtin(local_invocation_id) lane: vec3u) {
  var sum = 0.0;
  for (var i = lane.x; i < clip_params.partials; i += LANES) { sum += squares[i]; }
  let total = sum_over_row(lane.x, sum);
  if (lane.x > 0u) { return; }
  let norm = sqrt(total);
  clip[0] = norm;
  clip[1] = min(1.0, clip_params.limit / (norm + 1e-6));
  clip[2] = select(0.0, 1.0, is_finite(total));
}
