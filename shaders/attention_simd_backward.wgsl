// attention_backward.wgsl for adapters that run a workgroup as one SIMD vector: each load of a row
// fetches 8 of its components, one per lane, which the lanes then hand round.

struct Params { tokens: u32, heads: u32, kv_heads: u32, scale: f32, beta_k: f32, beta_v: f32 }

const LANES = 8u;
const WIDTH4 = HEAD_DIM / 4u;
const LOADS = (HEAD_DIM + LANES - 1u) / LANES;

@group(0) @binding(0) var<storage, read> q: array<f32>;                  // [T, H, D]
@group(0) @binding(1) var<storage, read> k: array<f32>;                  // [T, KV, D]
@group(0) @binding(2) var<storage, read> v: array<f32>;                  // [T, KV, D]
@group(0) @binding(3) var<storage, read> dy: array<f32>;                 // [T, H, D]
@group(0) @binding(4) var<storage, read> row_sums: array<vec2f>;         // [T, H]: log-sum-exp, delta
@group(1) @binding(0) var<uniform> params: Params;

alias Row = array<f32, LOADS>;
alias Wide = array<vec4f, WIDTH4>;

// Four neighbouring components of a row that is spread over the lanes.
fn components(row: Row, i: u32) -> vec4f {
  let first = 4u * (i % 2u);
  let x = row[i / 2u];
  return vec4f(
    subgroupShuffle(x, first),
    subgroupShuffle(x, first + 1u),
    subgroupShuffle(x, first + 2u),
    subgroupShuffle(x, first + 3u),
  );
}

fn product(own: ptr<function, Wide>, row: Row) -> f32 {
  var sum = vec4f();
  for (var i = 0u; i < WIDTH4; i++) { sum = fma((*own)[i], components(row, i), sum); }
  return (sum.x + sum.y) + (sum.z + sum.w);
}

fn add(sum: ptr<function, Wide>, weight: f32, row: Row) {
  for (var i = 0u; i < WIDTH4; i++) {
    (*sum)[i] = fma(vec4f(weight), components(row, i), (*sum)[i]);
  }
}

@group(0) @binding(5) var<storage, read> segment_start: array<u32>;      // [T]
@group(0) @binding(6) var<storage, read_write> dq: array<f32>;           // [T, H, D]

// One lane per query, over its keys. `beta_k` stands for dq's own beta here.
@compute @workgroup_size(LANES)
fn backward_q(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let first = group.x * LANES;
  let t = min(first + lane.x, params.tokens - 1u);
  let head = group.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let start = segment_start[t];
  let own = t * params.heads + head;
  var query: Wide;
  var upstream: Wide;
  var sum: Wide;
  for (var i = 0u; i < WIDTH4; i++) {
    let at = own * HEAD_DIM + 4u * i;
    query[i] = vec4f(q[at], q[at + 1u], q[at + 2u], q[at + 3u]) * params.scale;
    upstream[i] = vec4f(dy[at], dy[at + 1u], dy[at + 2u], dy[at + 3u]);
  }
  let saved = row_sums[own];
  let high = min(first + LANES, params.tokens);
  for (var j = segment_start[first]; j < high; j++) {
    let at = (j * params.kv_heads + kv_head) * HEAD_DIM + lane.x;
    var key: Row;
    var value: Row;
    for (var i = 0u; i < LOADS; i++) {
      key[i] = k[at + i * LANES];
      value[i] = v[at + i * LANES];
    }
    let p = exp(product(&query, key) - saved.x);
    let ds = p * (product(&upstream, value) - saved.y) * params.scale;
    add(&sum, select(0.0, ds, j >= start && j <= t), key);
  }
  if (first + lane.x < params.tokens) {
    for (var i = 0u; i < HEAD_DIM; i++) {
      let at = own * HEAD_DIM + i;
      var value = sum[i / 4u][i % 4u];
      if (params.beta_k != 0.0) { value += params.beta_k * dq[at]; }
      dq[at] = value;
    }
  }
}

@group(0) @binding(5) var<storage, read> segment_end: array<u32>;        // [T], one past the last token of the sequence
@group(0) @binding(6) var<storage, read_write> dk: array<f32>;           // [T, KV, D]
@group(0) @binding(7) var<storage, read_write> dv: array<f32>;           // [T, KV, D]

// One lane per key, over the later queries of its sequence and the query heads of its group.
@compute @workgroup_size(LANES)
fn backward_kv(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let first = group.x * LANES;
  let j = min(first + lane.x, params.tokens - 1u);
  let kv_head = group.y;
  let sharing = params.heads / params.kv_heads;
  let end = segment_end[j];
  let own = j * params.kv_heads + kv_head;
  var key: Wide;
  var value: Wide;
  var key_sum: Wide;
  var value_sum: Wide;
  for (var i = 0u; i < WIDTH4; i++) {
    let at = own * HEAD_DIM + 4u * i;
    key[i] = vec4f(k[at], k[at + 1u], k[at + 2u], k[at + 3u]) * params.scale;
    value[i] = vec4f(v[at], v[at + 1u], v[at + 2u], v[at + 3u]);
  }
  let high = segment_end[min(first + LANES, params.tokens) - 1u];
  for (var t = first; t < high; t++) {
    let seen = t >= j && t < end;
    for (var head = kv_head * sharing; head < (kv_head + 1u) * sharing; head++) {
      let row = t * params.heads + head;
      let at = row * HEAD_DIM + lane.x;
      var query: Row;
      var upstream: Row;
      for (var i = 0u; i < LOADS; i++) {
        query[i] = q[at + i * LANES];
        upstream[i] = dy[at + i * LANES];
      }
      let saved = row_sums[row];
      let p = select(0.0, exp(product(&key, query) - saved.x), seen);
      let ds = p * (product(&value, upstream) - saved.y) * params.scale;
      add(&value_sum, p, upstream);
      add(&key_sum, ds, query);
    }
  }
  if (first + lane.x < params.tokens) {
    for (var i = 0u; i < HEAD_DIM; i++) {
      let at = own * HEAD_DIM + i;
      var a = key_sum[i / 4u][i % 4u];
      var b = value_sum[i / 4u][i % 4u];
      if (params.beta_k != 0.0) { a += params.beta_k * dk[at]; }
      if (params.beta_v != 0.0) { b += params.beta_v * dv[at]; }
      dk[at] = a;
      dv[at] = b;
    }
  }
}
