// Causal attention over packed sequences with grouped-query heads, after FlashAttention
// (Dao et al. 2022): keys are visited in tiles with a running maximum and sum, so no [T, T] score
// matrix exists. PARTS lanes own one query, each with every PARTS-th vec4 of the head's components;
// a tile of keys is read once for all of a workgroup.
//
// Token t attends to the keys segment_start[t] .. t, its own sequence up to itself.

struct Params { tokens: u32, heads: u32, kv_heads: u32, scale: f32 }

override LANES: u32 = 8;
const WIDTH4 = HEAD_DIM / 4u;
const OWN4 = WIDTH4 / PARTS;
const MASKED = -1e30;

@group(0) @binding(0) var<storage, read> q: array<vec4f>;                // [T, H, D/4]
@group(0) @binding(1) var<storage, read> k: array<vec4f>;                // [T, KV, D/4]
@group(0) @binding(2) var<storage, read> v: array<vec4f>;                // [T, KV, D/4]
@group(0) @binding(3) var<storage, read> segment_start: array<u32>;      // [T]
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;          // [T, H, D/4]
@group(0) @binding(5) var<storage, read_write> row_sums: array<vec2f>;   // [T, H]: log-sum-exp of the scaled scores, room for delta
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let first = group.x * (LANES / PARTS);
  let own = lane.x % PARTS;
  let query_token = first + lane.x / PARTS;
  let t = min(query_token, params.tokens - 1u);
  let head = group.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let start = segment_start[t];
  let at = (t * params.heads + head) * WIDTH4 + own;

  var query: array<vec4f, OWN4>;
  for (var i = 0u; i < OWN4; i++) { query[i] = q[at + i * PARTS] * params.scale; }
  var out: array<vec4f, OWN4>;
  var highest = MASKED;
  var total = 0.0;

  // Bounds that hold for every lane of the workgroup; each lane masks what is not its own.
  let low = segment_start[first];
  let high = min(first + LANES / PARTS, params.tokens);
  for (var j = low; j < high; j += 4u) {
    var score: vec4f;
    for (var n = 0u; n < 4u; n++) {
      let key = (min(j + n, params.tokens - 1u) * params.kv_heads + kv_head) * WIDTH4 + own;
      var terms = vec4f();
      for (var i = 0u; i < OWN4; i++) { terms = fma(query[i], k[key + i * PARTS], terms); }
      score[n] = dot(terms, vec4f(1.0));
    }
    let index = vec4u(j, j + 1u, j + 2u, j + 3u);
    let seen = (index >= vec4u(start)) & (index <= vec4u(t));
    score = select(vec4f(MASKED), sum_over_parts(score), seen);
    let top = max(highest, max(max(score.x, score.y), max(score.z, score.w)));
    let weight = select(vec4f(), exp(score - top), seen);
    let decay = exp(highest - top);
    total = total * decay + dot(weight, vec4f(1.0));
    for (var i = 0u; i < OWN4; i++) { out[i] *= decay; }
    for (var n = 0u; n < 4u; n++) {
      let value = (min(j + n, params.tokens - 1u) * params.kv_heads + kv_head) * WIDTH4 + own;
      for (var i = 0u; i < OWN4; i++) { out[i] = fma(vec4f(weight[n]), v[value + i * PARTS], out[i]); }
    }
    highest = top;
  }

  if (query_token < params.tokens) {
    for (var i = 0u; i < OWN4; i++) { y[at + i * PARTS] = out[i] / total; }
    if (own == 0u) { row_sums[t * params.heads + head].x = highest + log(total); }
  }
}
