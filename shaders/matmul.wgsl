// C[M,N] = A B + beta C, for the three products that a linear layer needs (matmul_simd.wgsl is for
// software adapters). A workgroup loads a tile of A and one of B into workgroup memory, and each
// lane multiplies 4 BLOCKS_M rows x 4 BLOCKS_N columns of them (after Boehm, "How to optimize a
// CUDA matmul kernel", 2022). The sum runs over the inner dimension in one fixed order for every M.

// Sizes of C and terms of each sum. A matrix may be a block of a larger one: a row of it begins
// `stride` elements after the row before.
struct Params {
  rows: u32, columns: u32, terms: u32, a_stride: u32, b_stride: u32, c_stride: u32, beta: f32
}

// Lanes along N and along M, and the depth of the tiles, a multiple of 4. A workgroup makes
// 4 BLOCKS_M LANES_M rows x 4 BLOCKS_N LANES_N columns of C.
override LANES_N: u32 = 16;
override LANES_M: u32 = 16;
override DEPTH: u32 = 16;
override LANES: u32 = LANES_N * LANES_M;
// In units of four rows, or columns.
override HEIGHT: u32 = LANES_M * BLOCKS_M;
override WIDTH: u32 = LANES_N * BLOCKS_N;

@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read> b: array<Stored4>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4f>;
@group(0) @binding(3) var<storage, read> addend: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> tile_a: array<vec4f, DEPTH * HEIGHT>; // [k][row / 4]
var<workgroup> tile_b: array<vec4f, DEPTH * WIDTH>;  // [k][column / 4]

// [block of rows][block of columns][row]
alias Sums = array<array<array<vec4f, 4>, BLOCKS_N>, BLOCKS_M>;

// Terms past the end of the sum count as 0 in both tiles, as what lies there may not be finite.

// A[M,K]: four terms of one row. Neighbouring lanes read along K, where A is contiguous.
fn load_a(group: vec3u, lane: u32, start: u32) {
  for (var i = lane; i < DEPTH * HEIGHT; i += LANES) {
    let k = 4u * (i % (DEPTH / 4u));
    let row = i / (DEPTH / 4u);
    let terms = a[((group.y * HEIGHT * 4u + row) * params.a_stride + start + k) / 4u];
    let x = select(vec4f(), terms, start + k < params.terms);
    for (var j = 0u; j < 4u; j++) { tile_a[(k + j) * HEIGHT + row / 4u][row % 4u] = x[j]; }
  }
}

// A[K,M]: four rows of one term.
fn load_a_transposed(group: vec3u, lane: u32, start: u32) {
  for (var i = lane; i < DEPTH * HEIGHT; i += LANES) {
    let k = start + i / HEIGHT;
    let rows = a[k * (params.a_stride / 4u) + group.y * HEIGHT + i % HEIGHT];
    tile_a[i] = select(vec4f(), rows, k < params.terms);
  }
}

// B[K,N]: four columns of one term.
fn load_b(group: vec3u, lane: u32, start: u32) {
  for (var i = lane; i < DEPTH * WIDTH; i += LANES) {
    let k = start + i / WIDTH;
    let columns = unpack4(b[k * (params.b_stride / 4u) + group.x * WIDTH + i % WIDTH]);
    tile_b[i] = select(vec4f(), columns, k < params.terms);
  }
}

// B[N,K]: four terms of one column.
fn load_b_transposed(group: vec3u, lane: u32, start: u32) {
  for (var i = lane; i < DEPTH * WIDTH; i += LANES) {
    let k = 4u * (i % (DEPTH / 4u));
    let column = i / (DEPTH / 4u);
    let terms = unpack4(b[((group.x * WIDTH * 4u + column) * params.b_stride + start + k) / 4u]);
    let y = select(vec4f(), terms, start + k < params.terms);
    for (var j = 0u; j < 4u; j++) { tile_b[(k + j) * WIDTH + column / 4u][column % 4u] = y[j]; }
  }
}

fn multiply(sums: ptr<function, Sums>, lane: vec3u) {
  for (var k = 0u; k < DEPTH; k++) {
    for (var m = 0u; m < BLOCKS_M; m++) {
      let x = tile_a[k * HEIGHT + m * LANES_M + lane.y];
      for (var n = 0u; n < BLOCKS_N; n++) {
        let y = tile_b[k * WIDTH + n * LANES_N + lane.x];
        for (var i = 0u; i < 4u; i++) { (*sums)[m][n][i] = fma(vec4f(x[i]), y, (*sums)[m][n][i]); }
      }
    }
  }
}

fn store(sums: Sums, group: vec3u, lane: vec3u) {
  let columns4 = params.columns / 4u;
  for (var m = 0u; m < BLOCKS_M; m++) {
    let row = (group.y * HEIGHT + m * LANES_M + lane.y) * 4u;
    for (var n = 0u; n < BLOCKS_N; n++) {
      let column4 = group.x * WIDTH + n * LANES_N + lane.x;
      for (var i = 0u; i < 4u; i++) {
        if (row + i < params.rows && column4 < columns4) {
          let at = (row + i) * (params.c_stride / 4u) + column4;
          var value = sums[m][n][i];
          if (params.beta != 0.0) { value = fma(vec4f(params.beta), c[at], value); }
          c[at] = value;
        }
      }
    }
  }
}

// The same for C = A B + addend.
fn store_added(sums: Sums, group: vec3u, lane: vec3u) {
  let columns4 = params.columns / 4u;
  for (var m = 0u; m < BLOCKS_M; m++) {
    let row = (group.y * HEIGHT + m * LANES_M + lane.y) * 4u;
    for (var n = 0u; n < BLOCKS_N; n++) {
      let column4 = group.x * WIDTH + n * LANES_N + lane.x;
      for (var i = 0u; i < 4u; i++) {
        let at = (row + i) * (params.c_stride / 4u) + column4;
        if (row + i < params.rows && column4 < columns4) { c[at] = sums[m][n][i] + addend[at]; }
      }
    }
  }
}

// C[M,N] = A[M,K] B[K,N]
@compute @workgroup_size(LANES_N, LANES_M)
fn nn(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  var sums: Sums;
  for (var start = 0u; start < params.terms; start += DEPTH) {
    load_a(group, index, start);
    load_b(group, index, start);
    workgroupBarrier();
    multiply(&sums, lane);
    workgroupBarrier();
  }
  store(sums, group, lane);
}

// C[M,N] = A[K,M]^T B[K,N]
@compute @workgroup_size(LANES_N, LANES_M)
fn tn(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  var sums: Sums;
  for (var start = 0u; start < params.terms; start += DEPTH) {
    load_a_transposed(group, index, start);
    load_b(group, index, start);
    workgroupBarrier();
    multiply(&sums, lane);
    workgroupBarrier();
  }
  store(sums, group, lane);
}

// C[M,N] = A[M,K] B[N,K]^T
@compute @workgroup_size(LANES_N, LANES_M)
fn nt(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  var sums: Sums;
  for (var start = 0u; start < params.terms; start += DEPTH) {
    load_a(group, index, start);
    load_b_transposed(group, index, start);
    workgroupBarrier();
    multiply(&sums, lane);
    workgroupBarrier();
  }
  store(sums, group, lane);
}

// C[M,N] = A[M,K] B[N,K]^T + addend[M,N]
@compute @workgroup_size(LANES_N, LANES_M)
fn nt_add(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  var sums: Sums;
  for (var start = 0u; start < params.terms; start += DEPTH) {
    load_a(group, index, start);
    load_b_transposed(group, index, start);
    workgroupBarrier();
    multiply(&sums, lane);
    workgroupBarrier();
  }
  store_added(sums, group, lane);
}
