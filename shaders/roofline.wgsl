// What an adapter can do at most, to hold the other kernels against: a copy, and multiply-adds that
// stay in registers.

struct CopyParams { count: u32 }
struct FmaParams { lanes: u32, iterations: u32 }

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(1) @binding(0) var<uniform> copy_params: CopyParams;
@group(1) @binding(0) var<uniform> fma_params: FmaParams;

@compute @workgroup_size(LANES)
fn copy(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at < copy_params.count / 4u) { y[at] = x[at]; }
}

alias Sums = array<vec4f, 4>;

// s = (s + 1) / 2: converges to 1, whatever it starts from.
fn turn(sums: ptr<function, Sums>) {
  for (var i = 0u; i < 4u; i++) { (*sums)[i] = fma((*sums)[i], vec4f(0.5), vec4f(0.5)); }
}

// 128 multiply-adds of one float each per lane and iteration.
@compute @workgroup_size(LANES)
fn multiply_add(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  let start = vec4f(f32(at % 7u));
  var sums = Sums(start, start + 1.0, start + 2.0, start + 3.0);
  for (var i = 0u; i < fma_params.iterations; i++) {
    turn(&sums);
    turn(&sums);
    turn(&sums);
    turn(&sums);
    turn(&sums);
    turn(&sums);
    turn(&sums);
    turn(&sums);
  }
  if (at < fma_params.lanes) { y[at] = sums[0] + sums[1] + sums[2] + sums[3]; }
}
