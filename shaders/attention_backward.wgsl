// Gradients of attention.wgsl. Probabilities are recomputed from the saved log-sum-exp:
// P = exp(S - L), dS = P (dP - delta) with delta = rowsum(dY * Y); no atomics, since dq is
// gathered per query and dk, dv per key.

struct Params { tokens: u32, heads: u32, kv_heads: u32, scale: f32, beta_k: f32, beta_v: f32 }

override LANES: u32 = 8;
const WIDTH4 = HEAD_DIM / 4u;

@group(0) @binding(0) var<storage, read> q: array<vec4f>;                // [T, H, D/4]
@group(0) @binding(1) var<storage, read> k: array<vec4f>;                // [T, KV, D/4]
@group(0) @binding(2) var<storage, read> v: array<vec4f>;                // [T, KV, D/4]
@group(0) @binding(3) var<storage, read> dy: array<vec4f>;               // [T, H, D/4]
@group(0) @binding(4) var<storage, read> row_sums: array<vec2f>;         // [T, H]: L, delta
@group(1) @binding(0) var<uniform> params: Params;

@group(0) @binding(5) var<storage, read> y: array<vec4f>;                // [T, H, D/4]
@group(0) @binding(6) var<storage, read_write> sums: array<vec2f>;       // [T, H], the row_sums above

@compute @workgroup_size(LANES)
fn delta_rows(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let t = group.x * LANES + lane.x;
  if (t >= params.tokens) { return; }
  let row = t * params.heads + group.y;
  var sum = 0.0;
  for (var i = 0u; i < WIDTH4; i++) { sum += dot(y[row * WIDTH4 + i], dy[row * WIDTH4 + i]); }
  sums[row].y = sum;
}

@group(0) @binding(5) var<storage, read> segment_start: array<u32>;      // [T]
@group(0) @binding(6) var<storage, read_write> dq: array<vec4f>;         // [T, H, D/4]

// One lane per query, over its keys. `beta_k` stands for dq's own beta here.
@compute @workgroup_size(LANES)
fn backward_q(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let first = group.x * LANES;
  let t = min(first + lane.x, params.tokens - 1u);
  let head = group.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let start = segment_start[t];
  let row = t * params.heads + head;
  var query: array<vec4f, WIDTH4>;
  var upstream: array<vec4f, WIDTH4>;
  var sum: array<vec4f, WIDTH4>;
  for (var i = 0u; i < WIDTH4; i++) {
    query[i] = q[row * WIDTH4 + i] * params.scale;
    upstream[i] = dy[row * WIDTH4 + i];
  }
  let saved = row_sums[row];
  let high = min(first + LANES, params.tokens);
  for (var j = segment_start[first]; j < high; j++) {
    let at = (j * params.kv_heads + kv_head) * WIDTH4;
    var s = 0.0;
    var dp = 0.0;
    for (var i = 0u; i < WIDTH4; i++) {
      s += dot(query[i], k[at + i]);
      dp += dot(upstream[i], v[at + i]);
    }
    let seen = j >= start && j <= t;
    let ds = select(0.0, exp(s - saved.x) * (dp - saved.y) * params.scale, seen);
    for (var i = 0u; i < WIDTH4; i++) { sum[i] = fma(vec4f(ds), k[at + i], sum[i]); }
  }
  if (first + lane.x < params.tokens) {
    for (var i = 0u; i < WIDTH4; i++) {
      var value = sum[i];
      if (params.beta_k != 0.0) { value += params.beta_k * dq[row * WIDTH4 + i]; }
      dq[row * WIDTH4 + i] = value;
    }
  }
}

@group(0) @binding(5) var<storage, read> segment_end: array<u32>;        // [T], one past the last token of the sequence
@group(0) @binding(6) var<storage, read_write> dk: array<vec4f>;         // [T, KV, D/4]
@group(0) @binding(7) var<storage, read_write> dv: array<vec4f>;         // [T, KV, D/4]

// One lane per key, over the later queries of its sequence and the query heads of its group.
@compute @workgroup_size(LANES)
fn backward_kv(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let first = group.x * LANES;
  let j = min(first + lane.x, params.tokens - 1u);
  let kv_head = group.y;
  let sharing = params.heads / params.kv_heads;
  let end = segment_end[j];
  let at = (j * params.kv_heads + kv_head) * WIDTH4;
  var key: array<vec4f, WIDTH4>;
  var value: array<vec4f, WIDTH4>;
  var key_sum: array<vec4f, WIDTH4>;
  var value_sum: array<vec4f, WIDTH4>;
  for (var i = 0u; i < WIDTH4; i++) {
    key[i] = k[at + i] * params.scale;
    value[i] = v[at + i];
  }
  let high = segment_end[min(first + LANES, params.tokens) - 1u];
  for (var t = first; t < high; t++) {
    let seen = t >= j && t < end;
    for (var head = kv_head * sharing; head < (kv_head + 1u) * sharing; head++) {
      let row = t * params.heads + head;
      var s = 0.0;
      var dp = 0.0;
      for (var i = 0u; i < WIDTH4; i++) {
        s += dot(q[row * WIDTH4 + i], key[i]);
        dp += dot(dy[row * WIDTH4 + i], value[i]);
      }
      let p = select(0.0, exp(s - row_sums[row].x), seen);
      let ds = p * (dp - row_sums[row].y) * params.scale;
      for (var i = 0u; i < WIDTH4; i++) {
        value_sum[i] = fma(vec4f(p), dy[row * WIDTH4 + i], value_sum[i]);
        key_sum[i] = fma(vec4f(ds), q[row * WIDTH4 + i], key_sum[i]);
      }
    }
  }
  if (first + lane.x < params.tokens) {
    for (var i = 0u; i < WIDTH4; i++) {
      var a = key_sum[i];
      var b = value_sum[i];
      if (params.beta_k != 0.0) { a += params.beta_k * dk[at + i]; }
      if (params.beta_v != 0.0) { b += params.beta_v * dv[at + i]; }
      dk[at + i] = a;
      dv[at + i] = b;
    }
  }
}
