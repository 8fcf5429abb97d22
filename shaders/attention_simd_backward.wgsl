// attention_backward.wgsl for adapters that run a workgroup as one SIMD vector of a CPU core: the
// lanes load two rows together, a vec4 of their components each, and hand them round.

struct Params { tokens: u32, heads: u32, kv_heads: u32, scale: f32, beta_k: f32, beta_v: f32 }

const LANES = 8u;
const QUERIES = 16u;
const ROWS = 2u;
const WIDTH4 = HEAD_DIM / 4u;
const LOADS = (ROWS * WIDTH4 + LANES - 1u) / LANES;

@group(0) @binding(0) var<storage, read> q: array<Floats4>;              // [T, H, D/4]
@group(0) @binding(1) var<storage, read> k: array<Floats4>;              // [T, KV, D/4]
@group(0) @binding(2) var<storage, read> v: array<Floats4>;              // [T, KV, D/4]
@group(0) @binding(3) var<storage, read> dy: array<Floats4>;             // [T, H, D/4]
@group(0) @binding(4) var<storage, read> row_sums: array<vec2f>;         // [T, H]: log-sum-exp, delta
@group(1) @binding(0) var<uniform> params: Params;

alias Row = array<vec4f, WIDTH4>;
// Two rows over the lanes: vec4 m of them is load m / LANES of lane m % LANES.
alias Tile = array<vec4f, LOADS>;

// Vec4 i of row n of a tile.
fn part(tile: ptr<function, Tile>, n: u32, i: u32) -> vec4f {
  let m = n * WIDTH4 + i;
  let x = (*tile)[m / LANES];
  let lane = m % LANES;
  return vec4f(
    subgroupShuffle(x.x, lane),
    subgroupShuffle(x.y, lane),
    subgroupShuffle(x.z, lane),
    subgroupShuffle(x.w, lane),
  );
}

// Where vec4 m of a tile of tokens from `first` on is, of one of `heads` heads.
fn place(first: u32, m: u32, head: u32, heads: u32) -> u32 {
  let row = min(first + m / WIDTH4, params.tokens - 1u);
  return (row * heads + head) * WIDTH4 + m % WIDTH4;
}

// The compiler unrolls short loops over a row, and only then are its elements registers: one row of
// a tile at a time.
fn product(own: ptr<function, Row>, tile: ptr<function, Tile>, n: u32) -> f32 {
  var sum = vec4f();
  for (var i = 0u; i < WIDTH4; i++) { sum = fma((*own)[i], part(tile, n, i), sum); }
  return (sum.x + sum.y) + (sum.z + sum.w);
}

fn products(own: ptr<function, Row>, tile: ptr<function, Tile>) -> vec2f {
  return vec2f(product(own, tile, 0u), product(own, tile, 1u));
}

fn add(sum: ptr<function, Row>, weight: f32, tile: ptr<function, Tile>, n: u32) {
  for (var i = 0u; i < WIDTH4; i++) { (*sum)[i] = fma(vec4f(weight), part(tile, n, i), (*sum)[i]); }
}

fn add_all(sum: ptr<function, Row>, weight: vec2f, tile: ptr<function, Tile>) {
  add(sum, weight.x, tile, 0u);
  add(sum, weight.y, tile, 1u);
}

@group(0) @binding(5) var<storage, read> segment_start: array<u32>;      // [T]
@group(0) @binding(6) var<storage, read_write> dq: array<vec4f>;         // [T, H, D/4]

// Rows of a query and of its upstream gradient.
fn load_query(row: u32, query: ptr<function, Row>, upstream: ptr<function, Row>) {
  for (var i = 0u; i < WIDTH4; i++) {
    (*query)[i] = floats4(q[row * WIDTH4 + i]) * params.scale;
    (*upstream)[i] = floats4(dy[row * WIDTH4 + i]);
  }
}

// dS of a query's scores with two keys.
fn score_gradients(score: vec2f, dp: vec2f, saved: vec2f, seen: vec2<bool>) -> vec2f {
  return select(vec2f(), exp(score - saved.x) * (dp - saved.y) * params.scale, seen);
}

fn store_query(t: u32, row: u32, sum: Row) {
  if (t < params.tokens) {
    for (var i = 0u; i < WIDTH4; i++) {
      let at = row * WIDTH4 + i;
      var value = sum[i];
      if (params.beta_k != 0.0) { value += params.beta_k * dq[at]; }
      dq[at] = value;
    }
  }
}

// One lane for two queries, over their keys. `beta_k` stands for dq's own beta here.
@compute @workgroup_size(LANES)
fn backward_q(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let first = group.x * QUERIES;
  let last = params.tokens - 1u;
  let head = group.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let ta = min(first + lane.x, last);
  let tb = min(first + LANES + lane.x, last);
  let start_a = segment_start[ta];
  let start_b = segment_start[tb];
  let row_a = ta * params.heads + head;
  let row_b = tb * params.heads + head;
  let saved_a = row_sums[row_a];
  let saved_b = row_sums[row_b];
  var query_a: Row;
  var query_b: Row;
  var upstream_a: Row;
  var upstream_b: Row;
  load_query(row_a, &query_a, &upstream_a);
  load_query(row_b, &query_b, &upstream_b);
  var sum_a: Row;
  var sum_b: Row;
  let high = min(first + QUERIES, params.tokens);
  for (var j = segment_start[first]; j < high; j += ROWS) {
    var keys: Tile;
    var values: Tile;
    for (var n = 0u; n < LOADS; n++) {
      let at = place(j, n * LANES + lane.x, kv_head, params.kv_heads);
      keys[n] = floats4(k[at]);
      values[n] = floats4(v[at]);
    }
    let index = vec2u(j, j + 1u);
    let da = score_gradients(products(&query_a, &keys), products(&upstream_a, &values), saved_a,
      (index >= vec2u(start_a)) & (index <= vec2u(ta)));
    let db = score_gradients(products(&query_b, &keys), products(&upstream_b, &values), saved_b,
      (index >= vec2u(start_b)) & (index <= vec2u(tb)));
    add_all(&sum_a, da, &keys);
    add_all(&sum_b, db, &keys);
  }
  store_query(first + lane.x, row_a, sum_a);
  store_query(first + LANES + lane.x, row_b, sum_b);
}

@group(0) @binding(5) var<storage, read> segment_end: array<u32>;        // [T], one past the last token of the sequence
@group(0) @binding(6) var<storage, read_write> dk: array<vec4f>;         // [T, KV, D/4]
@group(0) @binding(7) var<storage, read_write> dv: array<vec4f>;         // [T, KV, D/4]

// One lane per key, over the later queries of its sequence and the query heads of its group.
@compute @workgroup_size(LANES)
fn backward_kv(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let first = group.x * LANES;
  let last = params.tokens - 1u;
  let j = min(first + lane.x, last);
  let kv_head = group.y;
  let sharing = params.heads / params.kv_heads;
  let end = segment_end[j];
  let own = (j * params.kv_heads + kv_head) * WIDTH4;
  var key: Row;
  var value: Row;
  var key_sum: Row;
  var value_sum: Row;
  for (var i = 0u; i < WIDTH4; i++) {
    key[i] = floats4(k[own + i]) * params.scale;
    value[i] = floats4(v[own + i]);
  }
  let high = segment_end[min(first + LANES, params.tokens) - 1u];
  for (var head = kv_head * sharing; head < (kv_head + 1u) * sharing; head++) {
    for (var t = first; t < high; t += ROWS) {
      var queries: Tile;
      var upstream: Tile;
      for (var n = 0u; n < LOADS; n++) {
        let at = place(t, n * LANES + lane.x, head, params.heads);
        queries[n] = floats4(q[at]);
        upstream[n] = floats4(dy[at]);
      }
      let saved = row_sums[min(t + lane.x % ROWS, last) * params.heads + head];
      let index = vec2u(t, t + 1u);
      let seen = (index >= vec2u(j)) & (index < vec2u(min(end, params.tokens)));
      let sums = vec2f(subgroupShuffle(saved.x, 0u), subgroupShuffle(saved.x, 1u));
      let deltas = vec2f(subgroupShuffle(saved.y, 0u), subgroupShuffle(saved.y, 1u));
      let p = select(vec2f(), exp(products(&key, &queries) - sums), seen);
      let ds = p * (products(&value, &upstream) - deltas) * params.scale;
      add_all(&value_sum, p, &upstream);
      add_all(&key_sum, ds, &queries);
    }
  }
  if (first + lane.x < params.tokens) {
    for (var i = 0u; i < WIDTH4; i++) {
      var a = key_sum[i];
      var b = value_sum[i];
      if (params.beta_k != 0.0) { a += params.beta_k * dk[own + i]; }
      if (params.beta_v != 0.0) { b += params.beta_v * dv[own + i]; }
      dk[own + i] = a;
      dv[own + i] = b;
    }
  }
}
