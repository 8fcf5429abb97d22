// y[M,N] = x[M,K] B[K,N] for a few rows: one lane owns one row's four columns.
//
// The order of summation is that of matmul.nn, so a sequence decoded alone gets the same bits as
// one decoded in a batch.

struct Params { rows: u32, columns: u32, inner: u32 }

override LANES: u32 = 8;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let columns4 = params.columns / 4u;
  let column = group.x * LANES + lane.x;
  let row = group.y;
  var sum = vec4f();
  for (var k = 0u; k < params.inner; k++) {
    sum = fma(vec4f(a[row * params.inner + k]), b[k * columns4 + column], sum);
  }
  if (column < columns4) { c[row * columns4 + column] = sum; }
}
