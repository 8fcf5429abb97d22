// C[M,N] = A[M,K] B[N,K]^T for a few rows, as in decoding, where reading B is all that takes time. A
// workgroup makes 32 columns: all its lanes load, and each lane sums up one column of some rows. The
// sum runs over the inner dimension in the order of matmul.wgsl.

struct Params { rows: u32, columns: u32, terms: u32, a_stride: u32, b_stride: u32, c_stride: u32, beta: f32 }

// Given in front: ROWS, 1 or a multiple of 4.
const LANES = 128u;
const COLUMNS = 32u;
const GROUPS = LANES / COLUMNS;               // of lanes, a column each
const OWN = (ROWS + GROUPS - 1u) / GROUPS;    // rows of a lane
const DEPTH4 = 16u;                           // vec4s of terms in a tile
const PITCH = DEPTH4 + 1u;                    // so that no two of 8 columns meet in a bank
const LOADS_A = (ROWS * DEPTH4 + LANES - 1u) / LANES;
const LOADS_B = COLUMNS * DEPTH4 / LANES;

@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read> b: array<Stored4>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<storage, read> addend: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;

// The lane's column and group are the only indices that are no constants (see matmul.wgsl).
var<workgroup> tile_a: array<array<array<vec4f, DEPTH4>, GROUPS>, OWN>; // [row / GROUPS][row % GROUPS][k / 4]
var<workgroup> tile_b: array<array<vec4f, PITCH>, COLUMNS>;             // [column][k / 4]

alias LoadsA = array<vec4f, LOADS_A>;
alias LoadsB = array<Stored4, LOADS_B>;
alias Sums = array<f32, OWN>;

fn fetch(x: ptr<function, LoadsA>, y: ptr<function, LoadsB>, group: vec3u, lane: u32, start4: u32) {
  for (var n = 0u; n < LOADS_A; n++) {
    let i = n * LANES + lane;
    (*x)[n] = a[(i / DEPTH4) * (params.a_stride / 4u) + start4 + i % DEPTH4];
  }
  for (var n = 0u; n < LOADS_B; n++) {
    let i = n * LANES + lane;
    (*y)[n] = b[(group.x * COLUMNS + i / DEPTH4) * (params.b_stride / 4u) + start4 + i % DEPTH4];
  }
}

// Terms past the end of the sum count as 0 in both tiles, as what lies there may not be finite.
fn put(x: ptr<function, LoadsA>, y: ptr<function, LoadsB>, lane: u32, start4: u32) {
  let real = start4 + lane % DEPTH4 < params.terms / 4u;
  for (var n = 0u; n < LOADS_A; n++) {
    let i = n * LANES + lane;
    let row = i / DEPTH4;
    if (row < ROWS) { tile_a[row / GROUPS][row % GROUPS][i % DEPTH4] = select(vec4f(), (*x)[n], real); }
  }
  for (var n = 0u; n < LOADS_B; n++) {
    let i = n * LANES + lane;
    tile_b[i / DEPTH4][i % DEPTH4] = select(vec4f(), unpack4((*y)[n]), real);
  }
}

fn sum_up(sums: ptr<function, Sums>, group: vec3u, lane: u32) {
  var x: LoadsA;
  var y: LoadsB;
  let end4 = params.terms / 4u;
  fetch(&x, &y, group, lane, 0u);
  for (var start4 = 0u; start4 < end4; start4 += DEPTH4) {
    put(&x, &y, lane, start4);
    workgroupBarrier();
    if (start4 + DEPTH4 < end4) { fetch(&x, &y, group, lane, start4 + DEPTH4); }
    if (lane / COLUMNS < ROWS) {
      for (var k = 0u; k < DEPTH4; k++) {
        let column = tile_b[lane % COLUMNS][k];
        for (var m = 0u; m < OWN; m++) {
          let row = tile_a[m][lane / COLUMNS][k];
          for (var i = 0u; i < 4u; i++) { (*sums)[m] = fma(row[i], column[i], (*sums)[m]); }
        }
      }
    }
    workgroupBarrier();
  }
}

const OUTSIDE = 0xffffffffu;

// Where in C the lane's sum `m` belongs.
fn place(m: u32, group: vec3u, lane: u32) -> u32 {
  let row = m * GROUPS + lane / COLUMNS;
  let column = group.x * COLUMNS + lane % COLUMNS;
  return select(OUTSIDE, row * params.c_stride + column, row < params.rows && column < params.columns);
}

@compute @workgroup_size(LANES)
fn nt(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  var sums: Sums;
  sum_up(&sums, group, lane);
  for (var m = 0u; m < OWN; m++) {
    let at = place(m, group, lane);
    if (at != OUTSIDE) {
      var value = sums[m];
      if (params.beta != 0.0) { value = fma(params.beta, c[at], value); }
      c[at] = value;
    }
  }
}

// C[M,N] = A[M,K] B[N,K]^T + addend[M,N]
@compute @workgroup_size(LANES)
fn nt_add(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  var sums: Sums;
  sum_up(&sums, group, lane);
  for (var m = 0u; m < OWN; m++) {
    let at = place(m, group, lane);
    if (at != OUTSIDE) { c[at] = sums[m] + addend[at]; }
  }
}
