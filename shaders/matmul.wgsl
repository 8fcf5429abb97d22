// C[M,N] = A B + beta C, for the three products that a linear layer needs (matmul_simd.wgsl is for
// software adapters, matmul_few.wgsl for a few rows). A workgroup loads a tile of A and one of B
// into workgroup memory, and each lane multiplies 4 BLOCKS_M rows x 4 BLOCKS_N columns of them
// (after Boehm, "How to optimize a CUDA matmul kernel", 2022); the next tiles are on their way
// meanwhile. The sum runs over the inner dimension in one fixed order for every M; where it is split
// into parts (tn), each has one.

// Sizes of C and terms of each sum, of which a workgroup adds up `split`: those of every z make a C
// of their own. A matrix may be a block of a larger one: a row of it begins `stride` elements after
// the row before.
struct Params {
  rows: u32, columns: u32, terms: u32, split: u32, a_stride: u32, b_stride: u32, c_stride: u32, beta: f32
}

// Given in front: LANES_N lanes along N and LANES_M along M, BLOCKS_N and BLOCKS_M, and the DEPTH of
// the tiles, a multiple of 4. A workgroup makes 4 HEIGHT rows x 4 WIDTH columns of C.
const LANES = LANES_N * LANES_M;
const HEIGHT = LANES_M * BLOCKS_M;
const WIDTH = LANES_N * BLOCKS_N;
// vec4s that each lane loads of a tile.
const LOADS_A = (DEPTH * HEIGHT + LANES - 1u) / LANES;
const LOADS_B = (DEPTH * WIDTH + LANES - 1u) / LANES;

@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read> b: array<Stored4>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4f>;
@group(0) @binding(3) var<storage, read> addend: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

// The rows of A, or columns of B, of one term. The lane is the only index that is no constant, or
// compilers would add and check it again for every read. With some room behind them, lanes that
// write one below the other meet fewer banks twice.
struct TermOfA { blocks: array<array<vec4f, LANES_M>, BLOCKS_M>, room: vec4f }
struct TermOfB { blocks: array<array<vec4f, LANES_N>, BLOCKS_N>, room: vec4f }
var<workgroup> tile_a: array<TermOfA, DEPTH>;
var<workgroup> tile_b: array<TermOfB, DEPTH>;

alias LoadsA = array<vec4f, LOADS_A>;
alias LoadsB = array<Stored4, LOADS_B>;
// [block of rows][block of columns][row]
alias Sums = array<array<array<vec4f, 4>, BLOCKS_N>, BLOCKS_M>;

// What lane `lane` loads of the tile of A whose terms begin at `start`: four terms of one row, where
// neighbouring lanes read along K, or four rows of one term where A is [K,M]. Terms from `end` on
// count as 0 in both tiles, as what lies there may not be finite.
fn fetch_a(loads: ptr<function, LoadsA>, transposed: bool, row: u32, lane: u32, start: u32, end: u32) {
  for (var n = 0u; n < LOADS_A; n++) {
    let i = n * LANES + lane;
    let k = start + select(4u * (i % (DEPTH / 4u)), i / HEIGHT, transposed);
    let at = select(
      ((row + i / (DEPTH / 4u)) * params.a_stride + k) / 4u,
      (k * params.a_stride + row) / 4u + i % HEIGHT,
      transposed,
    );
    (*loads)[n] = select(vec4f(), a[at], k < end);
  }
}

fn put_a(loads: ptr<function, LoadsA>, transposed: bool, lane: u32) {
  for (var n = 0u; n < LOADS_A; n++) {
    let i = n * LANES + lane;
    if (i < DEPTH * HEIGHT) {
      let x = (*loads)[n];
      if (transposed) {
        tile_a[i / HEIGHT].blocks[i % HEIGHT / LANES_M][i % LANES_M] = x;
      } else {
        let k = 4u * (i % (DEPTH / 4u));
        let row = i / (DEPTH / 4u);
        let row4 = row / 4u;
        for (var j = 0u; j < 4u; j++) {
          tile_a[k + j].blocks[row4 / LANES_M][row4 % LANES_M][row % 4u] = x[j];
        }
      }
    }
  }
}

// The same of B: four columns of one term, or four terms of one column where B is [N,K]. What is
// past the end is left out as it is put into the tile.
fn fetch_b(loads: ptr<function, LoadsB>, transposed: bool, column: u32, lane: u32, start: u32) {
  for (var n = 0u; n < LOADS_B; n++) {
    let i = n * LANES + lane;
    let at = select(
      ((start + i / WIDTH) * params.b_stride + column) / 4u + i % WIDTH,
      ((column + i / (DEPTH / 4u)) * params.b_stride + start) / 4u + i % (DEPTH / 4u),
      transposed,
    );
    (*loads)[n] = b[at];
  }
}

fn put_b(loads: ptr<function, LoadsB>, transposed: bool, lane: u32, start: u32, end: u32) {
  for (var n = 0u; n < LOADS_B; n++) {
    let i = n * LANES + lane;
    if (i < DEPTH * WIDTH) {
      let k = select(i / WIDTH, 4u * (i % (DEPTH / 4u)), transposed);
      let y = select(vec4f(), unpack4((*loads)[n]), start + k < end);
      if (transposed) {
        let column = i / (DEPTH / 4u);
        let column4 = column / 4u;
        for (var j = 0u; j < 4u; j++) {
          tile_b[k + j].blocks[column4 / LANES_N][column4 % LANES_N][column % 4u] = y[j];
        }
      } else {
        tile_b[k].blocks[i % WIDTH / LANES_N][i % LANES_N] = y;
      }
    }
  }
}

fn multiply(sums: ptr<function, Sums>, lane: vec3u) {
  for (var k = 0u; k < DEPTH; k++) {
    for (var m = 0u; m < BLOCKS_M; m++) {
      let x = tile_a[k].blocks[m][lane.y];
      for (var n = 0u; n < BLOCKS_N; n++) {
        let y = tile_b[k].blocks[n][lane.x];
        for (var i = 0u; i < 4u; i++) { (*sums)[m][n][i] = fma(vec4f(x[i]), y, (*sums)[m][n][i]); }
      }
    }
  }
}

fn sum_up(sums: ptr<function, Sums>, transposed_a: bool, transposed_b: bool, group: vec3u, lane: vec3u) {
  let index = lane.y * LANES_N + lane.x;
  let row = 4u * HEIGHT * group.y;
  let column = 4u * WIDTH * group.x;
  let end = min((group.z + 1u) * params.split, params.terms);
  var loads_a: LoadsA;
  var loads_b: LoadsB;
  fetch_a(&loads_a, transposed_a, row, index, group.z * params.split, end);
  fetch_b(&loads_b, transposed_b, column, index, group.z * params.split);
  for (var start = group.z * params.split; start < end; start += DEPTH) {
    put_a(&loads_a, transposed_a, index);
    put_b(&loads_b, transposed_b, index, start, end);
    workgroupBarrier();
    if (start + DEPTH < end) {
      fetch_a(&loads_a, transposed_a, row, index, start + DEPTH, end);
      fetch_b(&loads_b, transposed_b, column, index, start + DEPTH);
    }
    multiply(sums, lane);
    workgroupBarrier();
  }
}

fn store(sums: ptr<function, Sums>, group: vec3u, lane: vec3u) {
  for (var m = 0u; m < BLOCKS_M; m++) {
    let row = (group.y * HEIGHT + m * LANES_M + lane.y) * 4u;
    for (var n = 0u; n < BLOCKS_N; n++) {
      let column4 = group.x * WIDTH + n * LANES_N + lane.x;
      for (var i = 0u; i < 4u; i++) {
        if (row + i < params.rows && column4 < params.columns / 4u) {
          let at = (group.z * params.rows + row + i) * (params.c_stride / 4u) + column4;
          var value = (*sums)[m][n][i];
          if (params.beta != 0.0) { value = fma(vec4f(params.beta), c[at], value); }
          c[at] = value;
        }
      }
    }
  }
}

// The same for C = A B + addend.
fn store_added(sums: ptr<function, Sums>, group: vec3u, lane: vec3u) {
  for (var m = 0u; m < BLOCKS_M; m++) {
    let row = (group.y * HEIGHT + m * LANES_M + lane.y) * 4u;
    for (var n = 0u; n < BLOCKS_N; n++) {
      let column4 = group.x * WIDTH + n * LANES_N + lane.x;
      for (var i = 0u; i < 4u; i++) {
        let at = (row + i) * (params.c_stride / 4u) + column4;
        if (row + i < params.rows && column4 < params.columns / 4u) {
          c[at] = (*sums)[m][n][i] + addend[at];
        }
      }
    }
  }
}

// C[M,N] = A[M,K] B[K,N]
@compute @workgroup_size(LANES_N, LANES_M)
fn nn(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  var sums: Sums;
  sum_up(&sums, false, false, group, lane);
  store(&sums, group, lane);
}

// C[M,N] = A[K,M]^T B[K,N]
@compute @workgroup_size(LANES_N, LANES_M)
fn tn(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  var sums: Sums;
  sum_up(&sums, true, false, group, lane);
  store(&sums, group, lane);
}

// C[M,N] = A[M,K] B[N,K]^T
@compute @workgroup_size(LANES_N, LANES_M)
fn nt(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  var sums: Sums;
  sum_up(&sums, false, true, group, lane);
  store(&sums, group, lane);
}

// C[M,N] = A[M,K] B[N,K]^T + addend[M,N]
@compute @workgroup_size(LANES_N, LANES_M)
fn nt_add(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  var sums: Sums;
  sum_up(&sums, false, true, group, lane);
  store_added(&sums, group, lane);
}
