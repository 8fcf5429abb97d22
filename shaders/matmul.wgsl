// C[M,N] = A B + beta C, for the three products that a linear layer needs.
//
// Each lane owns a register tile of 8 rows x 8 columns and runs over the inner dimension alone:
// no workgroup memory, no barrier, one fixed order of summation for every M. The rows come from
// the workgroup id only, so that loads of A are uniform across lanes; lanes run along N.

// The sum runs over first .. last of the inner dimension; the host splits a long one.
struct Params { rows: u32, columns: u32, inner: u32, first: u32, last: u32, beta: f32 }

override LANES: u32 = 8;
const ROWS = 8u;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<vec4f>;
@group(0) @binding(1) var<storage, read> b_rows: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

fn store(row: u32, column4: u32, value: vec4f) {
  let columns4 = params.columns / 4u;
  if (row >= params.rows || column4 >= columns4) { return; }
  let at = row * columns4 + column4;
  if (params.beta == 0.0) { c[at] = value; } else { c[at] = fma(vec4f(params.beta), c[at], value); }
}

// C[M,N] = A[M,K] B[K,N]
@compute @workgroup_size(LANES)
fn nn(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let row = group.y * ROWS;
  let column = (group.x * LANES + lane.x) * 2u;
  let columns4 = params.columns / 4u;
  var left: array<vec4f, ROWS>;
  var right: array<vec4f, ROWS>;
  for (var k = params.first; k < params.last; k++) {
    let b0 = b[k * columns4 + column];
    let b1 = b[k * columns4 + column + 1u];
    for (var i = 0u; i < ROWS; i++) {
      let x = vec4f(a[(row + i) * params.inner + k]);
      left[i] = fma(x, b0, left[i]);
      right[i] = fma(x, b1, right[i]);
    }
  }
  for (var i = 0u; i < ROWS; i++) {
    store(row + i, column, left[i]);
    store(row + i, column + 1u, right[i]);
  }
}

// C[M,N] = A[K,M]^T B[K,N]; the weight gradient, with K the tokens
@compute @workgroup_size(LANES)
fn tn(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let row = group.y * ROWS;
  let column = (group.x * LANES + lane.x) * 2u;
  let columns4 = params.columns / 4u;
  var left: array<vec4f, ROWS>;
  var right: array<vec4f, ROWS>;
  for (var k = params.first; k < params.last; k++) {
    let b0 = b[k * columns4 + column];
    let b1 = b[k * columns4 + column + 1u];
    for (var i = 0u; i < ROWS; i++) {
      let x = vec4f(a[k * params.rows + row + i]);
      left[i] = fma(x, b0, left[i]);
      right[i] = fma(x, b1, right[i]);
    }
  }
  for (var i = 0u; i < ROWS; i++) {
    store(row + i, column, left[i]);
    store(row + i, column + 1u, right[i]);
  }
}

// C[M,N] = A[M,K] B[N,K]^T; where no transposed copy of B is at hand
@compute @workgroup_size(LANES)
fn nt(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let row = group.y * ROWS;
  let column4 = group.x * LANES + lane.x;
  let base = column4 * 4u * params.inner;
  var sum: array<vec4f, ROWS>;
  for (var k = params.first; k < params.last; k++) {
    let y = vec4f(
      b_rows[base + k],
      b_rows[base + params.inner + k],
      b_rows[base + 2u * params.inner + k],
      b_rows[base + 3u * params.inner + k],
    );
    for (var i = 0u; i < ROWS; i++) {
      sum[i] = fma(vec4f(a[(row + i) * params.inner + k]), y, sum[i]);
    }
  }
  for (var i = 0u; i < ROWS; i++) { store(row + i, column4, sum[i]); }
}
