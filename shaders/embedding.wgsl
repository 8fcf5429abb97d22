// y[t] = scale * table[ids[t]]; the gradient gathers, per distinct token, the rows where it occurs. Of
// a table larger than a binding each dispatch sees the rows of `count` tokens from `first` on.

struct Params { rows: u32, first: u32, count: u32, scale: f32 }
struct BackwardParams { distinct: u32, first: u32, count: u32, scale: f32 }

override LANES: u32 = 256;
override WIDTH4: u32 = 16;  // C/4, a constant: a CPU divides by a variable one lane at a time

@group(0) @binding(0) var<storage, read> ids: array<u32>;                // [T]
@group(0) @binding(1) var<storage, read> table: array<Stored4>;          // [count, C/4]
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;          // [T, C/4]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn forward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= params.rows * WIDTH4) { return; }
  let row = ids[at / WIDTH4] - params.first;
  // The first dispatch writes every row, so that one without a token is not left undefined.
  if (row < params.count) { y[at] = params.scale * unpack4(table[row * WIDTH4 + at % WIDTH4]); }
  else if (params.first == 0u) { y[at] = vec4f(); }
}

// The host sorts the positions by token: tokens[b] occurs at order[starts[b] .. starts[b + 1]].
// One lane sums one vec4 of one token's row in that order: no atomics, the same bits every time.
@group(0) @binding(0) var<storage, read> tokens: array<u32>;             // [B]
@group(0) @binding(1) var<storage, read> starts: array<u32>;             // [B + 1]
@group(0) @binding(2) var<storage, read> order: array<u32>;              // [T]
@group(0) @binding(3) var<storage, read> dy: array<vec4f>;               // [T, C/4]
@group(0) @binding(4) var<storage, read_write> dtable: array<vec4f>;     // [count, C/4]
@group(1) @binding(0) var<uniform> backward_params: BackwardParams;

@compute @workgroup_size(LANES)
fn backward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= backward_params.distinct * WIDTH4) { return; }
  let bucket = at / WIDTH4;
  let column = at % WIDTH4;
  let row = tokens[bucket] - backward_params.first;
  if (row >= backward_params.count) { return; }
  var sum = vec4f();
  for (var i = starts[bucket]; i < starts[bucket + 1u]; i++) {
    sum += dy[order[i] * WIDTH4 + column];
  }
  dtable[row * WIDTH4 + column] += backward_params.scale * sum;
}
