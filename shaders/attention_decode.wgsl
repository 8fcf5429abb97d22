// Attention of single tokens over their slot's cached keys and values.
//
// One workgroup per (row, head). Each lane visits every LANES-th key with its own running maximum
// and sum; the lanes' results are then merged in lane order. A row's result depends on its own
// slot alone, so decoding one by one or in a batch, or feeding a prompt in one piece or several,
// gives the same bits.

struct Params { heads: u32, kv_heads: u32, length: u32, window: u32, scale: f32 }

override LANES: u32 = 8;
const WIDTH4 = HEAD_DIM / 4u;
const LOWEST = -1e30;

@group(0) @binding(0) var<storage, read> q: array<vec4f>;                // [R, H, D/4]
@group(0) @binding(1) var<storage, read> cache_k: array<vec4f>;          // [S, L, KV, D/4]
@group(0) @binding(2) var<storage, read> cache_v: array<vec4f>;          // [S, L, KV, D/4]
@group(0) @binding(3) var<storage, read> slots: array<u32>;              // [R]
@group(0) @binding(4) var<storage, read> positions: array<u32>;          // [R], 0xffffffff for a row to skip
@group(0) @binding(5) var<storage, read_write> y: array<vec4f>;          // [R, H, D/4]
@group(1) @binding(0) var<uniform> params: Params;

var<workgroup> tops: array<f32, LANES>;
var<workgroup> sums: array<f32, LANES>;
var<workgroup> outs: array<vec4f, LANES * WIDTH4>;

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let head = group.x;
  let row = group.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let base = (row * params.heads + head) * WIDTH4;
  // A skipped row has position 0xffffffff: position + 1 wraps to no keys at all.
  let keys = min(positions[row] + 1u, params.length);
  let first = keys - min(keys, params.window);
  let cache = (slots[row] * params.length * params.kv_heads + kv_head) * WIDTH4;

  var query: array<vec4f, WIDTH4>;
  var out: array<vec4f, WIDTH4>;
  for (var i = 0u; i < WIDTH4; i++) { query[i] = q[base + i] * params.scale; }
  var highest = LOWEST;
  var total = 0.0;
  for (var j = first + lane.x; j < keys; j += LANES) {
    let at = cache + j * params.kv_heads * WIDTH4;
    var s = 0.0;
    for (var i = 0u; i < WIDTH4; i++) { s += dot(query[i], cache_k[at + i]); }
    let top = max(highest, s);
    let weight = exp(s - top);
    let decay = exp(highest - top);
    total = total * decay + weight;
    for (var i = 0u; i < WIDTH4; i++) {
      out[i] = fma(vec4f(weight), cache_v[at + i], out[i] * decay);
    }
    highest = top;
  }
  tops[lane.x] = highest;
  sums[lane.x] = total;
  for (var i = 0u; i < WIDTH4; i++) { outs[lane.x * WIDTH4 + i] = out[i]; }
  workgroupBarrier();

  var top = LOWEST;
  for (var n = 0u; n < LANES; n++) { top = max(top, tops[n]); }
  for (var i = lane.x; i < WIDTH4; i += LANES) {
    var numerator = vec4f();
    var denominator = 0.0;
    for (var n = 0u; n < LANES; n++) {
      let weight = exp(tops[n] - top);
      denominator = fma(weight, sums[n], denominator);
      numerator = fma(vec4f(weight), outs[n * WIDTH4 + i], numerator);
    }
    y[base + i] = select(vec4f(), numerator / denominator, denominator > 0.0);
  }
}
