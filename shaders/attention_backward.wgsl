// Gradients of attention.wgsl. Probabilities are recomputed from the saved log-sum-exp:
// P = exp(S - L), dS = P (dP - delta) with delta = rowsum(dY * Y); no atomics, since dq is
// gathered per query and dk, dv per key. PARTS lanes share one, each with every PARTS-th vec4 of it.

struct Params { tokens: u32, heads: u32, kv_heads: u32, scale: f32, beta_k: f32, beta_v: f32 }

override LANES: u32 = 8;
const WIDTH4 = HEAD_DIM / 4u;
const OWN4 = WIDTH4 / PARTS;

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

// PARTS lanes per query, over its keys, two at a time. `beta_k` stands for dq's own beta here.
@compute @workgroup_size(LANES)
fn backward_q(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let first = group.x * (LANES / PARTS);
  let own = lane.x % PARTS;
  let query_token = first + lane.x / PARTS;
  let t = min(query_token, params.tokens - 1u);
  let head = group.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let start = segment_start[t];
  let row = t * params.heads + head;
  let at = row * WIDTH4 + own;
  var query: array<vec4f, OWN4>;
  var upstream: array<vec4f, OWN4>;
  var sum: array<vec4f, OWN4>;
  for (var i = 0u; i < OWN4; i++) {
    query[i] = q[at + i * PARTS] * params.scale;
    upstream[i] = dy[at + i * PARTS];
  }
  let saved = row_sums[row];
  let high = min(first + LANES / PARTS, params.tokens);
  for (var j = segment_start[first]; j < high; j += 2u) {
    var found: vec4f; // the scores of two keys, and their dP
    for (var n = 0u; n < 2u; n++) {
      let key = (min(j + n, params.tokens - 1u) * params.kv_heads + kv_head) * WIDTH4 + own;
      var s = vec4f();
      var dp = vec4f();
      for (var i = 0u; i < OWN4; i++) {
        s = fma(query[i], k[key + i * PARTS], s);
        dp = fma(upstream[i], v[key + i * PARTS], dp);
      }
      found[n] = dot(s, vec4f(1.0));
      found[2u + n] = dot(dp, vec4f(1.0));
    }
    found = sum_over_parts(found);
    let index = vec2u(j, j + 1u);
    let seen = (index >= vec2u(start)) & (index <= vec2u(t));
    let ds = select(vec2f(), exp(found.xy - saved.x) * (found.zw - saved.y) * params.scale, seen);
    for (var n = 0u; n < 2u; n++) {
      let key = (min(j + n, params.tokens - 1u) * params.kv_heads + kv_head) * WIDTH4 + own;
      for (var i = 0u; i < OWN4; i++) { sum[i] = fma(vec4f(ds[n]), k[key + i * PARTS], sum[i]); }
    }
  }
  if (query_token < params.tokens) {
    for (var i = 0u; i < OWN4; i++) {
      var value = sum[i];
      if (params.beta_k != 0.0) { value += params.beta_k * dq[at + i * PARTS]; }
      dq[at + i * PARTS] = value;
    }
  }
}

@group(0) @binding(5) var<storage, read> segment_end: array<u32>;        // [T], one past the last token of the sequence
@group(0) @binding(6) var<storage, read_write> dk: array<vec4f>;         // [T, KV, D/4]
@group(0) @binding(7) var<storage, read_write> dv: array<vec4f>;         // [T, KV, D/4]

// PARTS lanes per key, over the later queries of its sequence, two at a time, and the query heads of
// its group.
@compute @workgroup_size(LANES)
fn backward_kv(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let first = group.x * (LANES / PARTS);
  let own = lane.x % PARTS;
  let key_token = first + lane.x / PARTS;
  let j = min(key_token, params.tokens - 1u);
  let kv_head = group.y;
  let sharing = params.heads / params.kv_heads;
  let end = segment_end[j];
  let at = (j * params.kv_heads + kv_head) * WIDTH4 + own;
  var key: array<vec4f, OWN4>;
  var value: array<vec4f, OWN4>;
  var key_sum: array<vec4f, OWN4>;
  var value_sum: array<vec4f, OWN4>;
  for (var i = 0u; i < OWN4; i++) {
    key[i] = k[at + i * PARTS] * params.scale;
    value[i] = v[at + i * PARTS];
  }
  let high = segment_end[min(first + LANES / PARTS, params.tokens) - 1u];
  for (var t = first; t < high; t += 2u) {
    let index = vec2u(t, t + 1u);
    let seen = (index >= vec2u(j)) & (index < vec2u(end));
    for (var head = kv_head * sharing; head < (kv_head + 1u) * sharing; head++) {
      var found: vec4f; // the scores of two queries, and their dP
      var saved: array<vec2f, 2>;
      for (var n = 0u; n < 2u; n++) {
        let row = min(t + n, params.tokens - 1u) * params.heads + head;
        saved[n] = row_sums[row];
        var s = vec4f();
        var dp = vec4f();
        for (var i = 0u; i < OWN4; i++) {
          s = fma(q[row * WIDTH4 + own + i * PARTS], key[i], s);
          dp = fma(dy[row * WIDTH4 + own + i * PARTS], value[i], dp);
        }
        found[n] = dot(s, vec4f(1.0));
        found[2u + n] = dot(dp, vec4f(1.0));
      }
      found = sum_over_parts(found);
      let p = select(vec2f(), exp(found.xy - vec2f(saved[0].x, saved[1].x)), seen);
      let ds = p * (found.zw - vec2f(saved[0].y, saved[1].y)) * params.scale;
      for (var n = 0u; n < 2u; n++) {
        let query = (min(t + n, params.tokens - 1u) * params.heads + head) * WIDTH4 + own;
        for (var i = 0u; i < OWN4; i++) {
          value_sum[i] = fma(vec4f(p[n]), dy[query + i * PARTS], value_sum[i]);
          key_sum[i] = fma(vec4f(ds[n]), q[query + i * PARTS], key_sum[i]);
        }
      }
    }
  }
  if (key_token < params.tokens) {
    for (var i = 0u; i < OWN4; i++) {
      var a = key_sum[i];
      var b = value_sum[i];
      if (params.beta_k != 0.0) { a += params.beta_k * dk[at + i * PARTS]; }
      if (params.beta_v != 0.0) { b += params.beta_v * dv[at + i * PARTS]; }
      dk[at + i * PARTS] = a;
      dv[at + i * PARTS] = b;
    }
  }
}
