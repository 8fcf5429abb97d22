// Keys and values of past tokens: cache[slot, position] of shape [slots, length, KV, D].

struct AppendParams { rows: u32, width: u32, length: u32 }
struct ForkParams { width: u32, length: u32 }

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read> k: array<vec4f>;                // [R, KV D/4]
@group(0) @binding(1) var<storage, read> v: array<vec4f>;                // [R, KV D/4]
@group(0) @binding(2) var<storage, read> slots: array<u32>;              // [R]
@group(0) @binding(3) var<storage, read> positions: array<u32>;          // [R], 0xffffffff for a row to skip
@group(0) @binding(4) var<storage, read_write> cache_k: array<vec4f>;    // [S, L, KV D/4]
@group(0) @binding(5) var<storage, read_write> cache_v: array<vec4f>;    // [S, L, KV D/4]
@group(1) @binding(0) var<uniform> append_params: AppendParams;

@compute @workgroup_size(LANES)
fn append(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let width4 = append_params.width / 4u;
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= append_params.rows * width4) { return; }
  let row = at / width4;
  let position = positions[row];
  if (position >= append_params.length) { return; }
  let to = (slots[row] * append_params.length + position) * width4 + at % width4;
  cache_k[to] = k[at];
  cache_v[to] = v[at];
}

// Copies the first positions of one slot to another: the samples of a group share their prompt.
@group(0) @binding(0) var<storage, read> forks: array<u32>;              // [F, 3]: source, target, positions
@group(1) @binding(0) var<uniform> fork_params: ForkParams;

@compute @workgroup_size(LANES)
fn fork(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let width4 = fork_params.width / 4u;
  let source = forks[group.y * 3u];
  let destination = forks[group.y * 3u + 1u];
  let at = group.x * LANES + lane.x;
  if (at >= forks[group.y * 3u + 2u] * width4) { return; }
  let stride = fork_params.length * width4;
  cache_k[destination * stride + at] = cache_k[source * stride + at];
  cache_v[destination * stride + at] = cache_v[source * stride + at];
}
