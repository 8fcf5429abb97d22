// Keys and values of past tokens: cache[slot, position] of shape [slots, length, KV, D]. They get
// there by rope.wgsl.

struct Params { width: u32, length: u32 }

override LANES: u32 = 256;

@group(0) @binding(4) var<storage, read_write> cache_k: array<vec4f>;    // [S, L, KV D/4]
@group(0) @binding(5) var<storage, read_write> cache_v: array<vec4f>;    // [S, L, KV D/4]

// Copies the first positions of one slot to another: the samples of a group share their prompt.
@group(0) @binding(0) var<storage, read> forks: array<u32>;              // [F, 3]: source, target, positions
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn fork(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let width4 = params.width / 4u;
  let source = forks[group.y * 3u];
  let destination = forks[group.y * 3u + 1u];
  let at = group.x * LANES + lane.x;
  if (at >= forks[group.y * 3u + 2u] * width4) { return; }
  let stride = params.length * width4;
  cache_k[destination * stride + at] = cache_k[source * stride + at];
  cache_v[destination * stride + at] = cache_v[source * stride + at];
}
