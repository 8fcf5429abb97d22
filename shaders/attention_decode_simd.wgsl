// attention_decode.wgsl for adapters whose lanes see each other's registers: LANES of them, as many as
// certainly do.
//
// PARTS lanes share a key, each with every PARTS-th vec4 of the head's components, so that they have
// LANES / PARTS keys at a time. Under llvmpipe a load of a vec4 is 1.5 KB of machine code: a lane with
// a whole key of 64 components has a loop of 50 KB, which no instruction cache holds, and takes 1.6
// times as long.

struct Params { heads: u32, kv_heads: u32, length: u32, window: u32, scale: f32 }

const WIDTH4 = HEAD_DIM / 4u;
const KEYS = LANES / PARTS;
const OWN4 = WIDTH4 / PARTS;
const LOWEST = -1e30;

@group(0) @binding(0) var<storage, read> q: array<Floats4>;              // [R, H, D/4]
@group(0) @binding(1) var<storage, read> cache_k: array<Floats4>;        // [S, L, KV, D/4]
@group(0) @binding(2) var<storage, read> cache_v: array<Floats4>;        // [S, L, KV, D/4]
@group(0) @binding(3) var<storage, read> slots: array<u32>;              // [R]
@group(0) @binding(4) var<storage, read> positions: array<u32>;          // [R], 0xffffffff for a row to skip
@group(0) @binding(5) var<storage, read_write> y: array<vec4f>;          // [R, H, D/4]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let head = group.x;
  let row = group.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let own = lane.x % PARTS;
  let base = (row * params.heads + head) * WIDTH4 + own;
  // A skipped row has position 0xffffffff: position + 1 wraps to no keys at all.
  let keys = min(positions[row] + 1u, params.length);
  let first = keys - min(keys, params.window);
  let cache = (slots[row] * params.length * params.kv_heads + kv_head) * WIDTH4 + own;

  var query: array<vec4f, OWN4>;
  var out: array<vec4f, OWN4>;
  for (var i = 0u; i < OWN4; i++) { query[i] = floats4(q[base + i * PARTS]) * params.scale; }
  var highest = LOWEST;
  var total = 0.0;
  for (var j = first; j < keys; j += KEYS) {
    let key = j + lane.x / PARTS;
    let at = cache + min(key, keys - 1u) * params.kv_heads * WIDTH4;
    var terms = vec4f();
    for (var i = 0u; i < OWN4; i++) { terms = fma(query[i], floats4(cache_k[at + i * PARTS]), terms); }
    var score = (terms.x + terms.y) + (terms.z + terms.w);
    for (var step = 1u; step < PARTS; step *= 2u) { score += subgroupShuffleXor(score, step); }
    let top = max(highest, score);
    let weight = select(0.0, exp(score - top), key < keys);
    let decay = exp(highest - top);
    total = total * decay + weight;
    for (var i = 0u; i < OWN4; i++) {
      out[i] = fma(vec4f(weight), floats4(cache_v[at + i * PARTS]), out[i] * decay);
    }
    highest = top;
  }

  // Merges the softmaxes of the KEYS groups of lanes.
  var top = highest;
  for (var step = PARTS; step < LANES; step *= 2u) { top = max(top, subgroupShuffleXor(top, step)); }
  let share = exp(highest - top);
  total *= share;
  for (var step = PARTS; step < LANES; step *= 2u) { total += subgroupShuffleXor(total, step); }
  for (var i = 0u; i < OWN4; i++) {
    var sum = out[i] * share;
    for (var step = PARTS; step < LANES; step *= 2u) { sum += subgroupShuffleXor(sum, step); }
    if (lane.x < PARTS) { y[base + i * PARTS] = select(vec4f(), sum / total, total > 0.0); }
  }
}
