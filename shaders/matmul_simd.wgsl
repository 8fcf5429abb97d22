// C[M,N] = A B + beta C, for the three products that a linear layer needs, on adapters that run a
// workgroup as one SIMD vector of a CPU core (matmul.wgsl is for all others).
//
// Each lane owns a register tile of 8 BLOCKS rows x 4 columns and runs over the inner dimension
// alone: no workgroup memory, no barrier, one fixed order of summation for every M. What costs
// there is not arithmetic but loads (each lane's address is checked by itself) and variables that
// live from one iteration to the next (each is written under the mask of active lanes). So every
// load brings four terms, an iteration adds four terms to each sum, and one load of A serves eight
// rows: each lane loads one row's terms, which are then handed round.

// Sizes of C and terms of each sum. A matrix may be a block of a larger one: a row of it begins
// `stride` elements after the row before.
struct Params {
  rows: u32, columns: u32, terms: u32, a_stride: u32, b_stride: u32, c_stride: u32, beta: f32
}

const LANES = 8u;
const ROWS = LANES * BLOCKS;

@group(0) @binding(0) var<storage, read> a: array<Floats4>;
@group(0) @binding(1) var<storage, read> b: array<Stored4>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4f>;
@group(0) @binding(3) var<storage, read> addend: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

// Sums of eight rows, or of the only one; the compiler unrolls a loop over one such array, but none
// around it.
alias Block = array<vec4f, FILLED>;
// Four terms of one row, or of one column, of each lane.
alias Terms = array<vec4f, 4>;

fn load_a(row: u32, k: u32) -> vec4f { return floats4(a[(row * params.a_stride + k) / 4u]); }

fn load_b(column4: u32, k: u32) -> Terms {
  let stride4 = params.b_stride / 4u;
  var y: Terms;
  for (var i = 0u; i < 4u; i++) { y[i] = unpack4(b[(k + i) * stride4 + column4]); }
  return y;
}

// B[N,K]: four terms of each of four columns.
fn load_b_transposed(column4: u32, k: u32) -> Terms {
  let at = (column4 * 4u * params.b_stride + k) / 4u;
  let stride4 = params.b_stride / 4u;
  let m = transpose(mat4x4f(
    unpack4(b[at]),
    unpack4(b[at + stride4]),
    unpack4(b[at + 2u * stride4]),
    unpack4(b[at + 3u * stride4]),
  ));
  return Terms(m[0], m[1], m[2], m[3]);
}

// Adds four terms to each sum; lane i holds those of A's row i.
fn multiply(sum: ptr<function, Block>, x: vec4f, y: Terms) {
  for (var i = 0u; i < FILLED; i++) {
    var s = (*sum)[i];
    s = fma(vec4f(subgroupShuffle(x.x, i)), y[0], s);
    s = fma(vec4f(subgroupShuffle(x.y, i)), y[1], s);
    s = fma(vec4f(subgroupShuffle(x.z, i)), y[2], s);
    s = fma(vec4f(subgroupShuffle(x.w, i)), y[3], s);
    (*sum)[i] = s;
  }
}

fn store(row: u32, stride: u32, column4: u32, sum: Block) {
  let columns4 = params.columns / 4u;
  for (var i = 0u; i < FILLED; i++) {
    let at = (row + i * stride) * (params.c_stride / 4u) + column4;
    if (row + i * stride < params.rows && column4 < columns4) {
      if (params.beta == 0.0) { c[at] = sum[i]; } else { c[at] = fma(vec4f(params.beta), c[at], sum[i]); }
    }
  }
}

// The same for C = A B + addend.
fn store_added(row: u32, column4: u32, sum: Block) {
  let columns4 = params.columns / 4u;
  for (var i = 0u; i < FILLED; i++) {
    let at = (row + i) * (params.c_stride / 4u) + column4;
    if (row + i < params.rows && column4 < columns4) { c[at] = sum[i] + addend[at]; }
  }
}

// C[M,N] = A[M,K] B[K,N]
@compute @workgroup_size(LANES)
fn nn(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let row = group.y * ROWS;
  let column4 = group.x * LANES + lane.x;
  var s0: Block;
  var s1: Block;
  var s2: Block;
  var s3: Block;
  for (var k = 0u; k < params.terms; k += 4u) {
    let y = load_b(column4, k);
    let x0 = load_a(row + lane.x, k);
    var x1: vec4f;
    var x2: vec4f;
    var x3: vec4f;
    if (BLOCKS > 1u) { x1 = load_a(row + 8u + lane.x, k); }
    if (BLOCKS > 2u) {
      x2 = load_a(row + 16u + lane.x, k);
      x3 = load_a(row + 24u + lane.x, k);
    }
    multiply(&s0, x0, y);
    if (BLOCKS > 1u) { multiply(&s1, x1, y); }
    if (BLOCKS > 2u) {
      multiply(&s2, x2, y);
      multiply(&s3, x3, y);
    }
  }
  store(row, 1u, column4, s0);
  if (BLOCKS > 1u) { store(row + 8u, 1u, column4, s1); }
  if (BLOCKS > 2u) {
    store(row + 16u, 1u, column4, s2);
    store(row + 24u, 1u, column4, s3);
  }
}

// Sums of A[M,K] B[N,K]^T.
fn sum_nt(
  row: u32,
  column4: u32,
  lane: u32,
  s0: ptr<function, Block>,
  s1: ptr<function, Block>,
  s2: ptr<function, Block>,
  s3: ptr<function, Block>,
) {
  for (var k = 0u; k < params.terms; k += 4u) {
    let y = load_b_transposed(column4, k);
    let x0 = load_a(row + lane, k);
    var x1: vec4f;
    var x2: vec4f;
    var x3: vec4f;
    if (BLOCKS > 1u) { x1 = load_a(row + 8u + lane, k); }
    if (BLOCKS > 2u) {
      x2 = load_a(row + 16u + lane, k);
      x3 = load_a(row + 24u + lane, k);
    }
    multiply(s0, x0, y);
    if (BLOCKS > 1u) { multiply(s1, x1, y); }
    if (BLOCKS > 2u) {
      multiply(s2, x2, y);
      multiply(s3, x3, y);
    }
  }
}

// C[M,N] = A[M,K] B[N,K]^T
@compute @workgroup_size(LANES)
fn nt(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let row = group.y * ROWS;
  let column4 = group.x * LANES + lane.x;
  var s0: Block;
  var s1: Block;
  var s2: Block;
  var s3: Block;
  sum_nt(row, column4, lane.x, &s0, &s1, &s2, &s3);
  store(row, 1u, column4, s0);
  if (BLOCKS > 1u) { store(row + 8u, 1u, column4, s1); }
  if (BLOCKS > 2u) {
    store(row + 16u, 1u, column4, s2);
    store(row + 24u, 1u, column4, s3);
  }
}

// C[M,N] = A[M,K] B[N,K]^T + addend[M,N]
@compute @workgroup_size(LANES)
fn nt_add(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let row = group.y * ROWS;
  let column4 = group.x * LANES + lane.x;
  var s0: Block;
  var s1: Block;
  var s2: Block;
  var s3: Block;
  sum_nt(row, column4, lane.x, &s0, &s1, &s2, &s3);
  store_added(row, column4, s0);
  if (BLOCKS > 1u) { store_added(row + 8u, column4, s1); }
  if (BLOCKS > 2u) {
    store_added(row + 16u, column4, s2);
    store_added(row + 24u, column4, s3);
  }
}

// C[M,N] = A[K,M]^T B[K,N]; the weight gradient, with K the tokens. A lane loads four rows of one
// term: block j has the rows 4 i + j.
@compute @workgroup_size(LANES)
fn tn(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let row = group.y * 32u;
  let column4 = group.x * LANES + lane.x;
  let a_stride4 = params.a_stride / 4u;
  let b_stride4 = params.b_stride / 4u;
  var s0: Block;
  var s1: Block;
  var s2: Block;
  var s3: Block;
  for (var k = 0u; k < params.terms; k += 4u) {
    var x: Terms;
    var y: Terms;
    for (var u = 0u; u < 4u; u++) {
      // Terms past the last count as 0.
      let at = min(k + u, params.terms - 1u);
      y[u] = unpack4(b[at * b_stride4 + column4]);
      let own = floats4(a[at * a_stride4 + row / 4u + lane.x]);
      x[u] = select(vec4f(), own, k + u < params.terms);
    }
    multiply(&s0, vec4f(x[0].x, x[1].x, x[2].x, x[3].x), y);
    multiply(&s1, vec4f(x[0].y, x[1].y, x[2].y, x[3].y), y);
    multiply(&s2, vec4f(x[0].z, x[1].z, x[2].z, x[3].z), y);
    multiply(&s3, vec4f(x[0].w, x[1].w, x[2].w, x[3].w), y);
  }
  store(row, 4u, column4, s0);
  store(row + 1u, 4u, column4, s1);
  store(row + 2u, 4u, column4, s2);
  store(row + 3u, 4u, column4, s3);
}
