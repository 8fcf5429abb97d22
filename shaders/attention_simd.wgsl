// attention.wgsl for adapters that run a workgroup as one SIMD vector of a CPU core. There a load
// costs as much as several multiply-adds, so a lane owns two queries, and the lanes load two keys or
// values together, a vec4 of their components each, and hand them round. With four at a time a loop
// over heads of 64 is 61 KB of machine code, more than an instruction cache holds, and no faster over
// narrower ones.

struct Params { tokens: u32, heads: u32, kv_heads: u32, scale: f32 }

const LANES = 8u;
const QUERIES = 16u;
const KEYS = 2u;
const WIDTH4 = HEAD_DIM / 4u;
const LOADS = (KEYS * WIDTH4 + LANES - 1u) / LANES;
const MASKED = -1e30;

@group(0) @binding(0) var<storage, read> q: array<Floats4>;              // [T, H, D/4]
@group(0) @binding(1) var<storage, read> k: array<Floats4>;              // [T, KV, D/4]
@group(0) @binding(2) var<storage, read> v: array<Floats4>;              // [T, KV, D/4]
@group(0) @binding(3) var<storage, read> segment_start: array<u32>;      // [T]
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;          // [T, H, D/4]
@group(0) @binding(5) var<storage, read_write> row_sums: array<vec2f>;   // [T, H]: log-sum-exp of the scaled scores, room for delta
@group(1) @binding(0) var<uniform> params: Params;

alias Row = array<vec4f, WIDTH4>;
// Two rows over the lanes: vec4 m of them is load m / LANES of lane m % LANES.
alias Tile = array<vec4f, LOADS>;

// The running softmax of one query.
struct State { highest: f32, total: f32 }

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

// Where vec4 m of a tile of keys from `first` on is.
fn place(first: u32, m: u32, kv_head: u32) -> u32 {
  let row = min(first + m / WIDTH4, params.tokens - 1u);
  return (row * params.kv_heads + kv_head) * WIDTH4 + m % WIDTH4;
}

fn load_query(t: u32, head: u32) -> Row {
  var row: Row;
  let at = (t * params.heads + head) * WIDTH4;
  for (var i = 0u; i < WIDTH4; i++) { row[i] = floats4(q[at + i]) * params.scale; }
  return row;
}

// Takes two scores in: the weights of their values, and what earlier sums are to be scaled by.
fn update(state: ptr<function, State>, score: vec2f, seen: vec2<bool>, decay: ptr<function, f32>) -> vec2f {
  let masked = select(vec2f(MASKED), score, seen);
  let top = max((*state).highest, max(masked.x, masked.y));
  let weight = select(vec2f(), exp(masked - top), seen);
  *decay = exp((*state).highest - top);
  (*state).total = (*state).total * *decay + (weight.x + weight.y);
  (*state).highest = top;
  return weight;
}

// The compiler unrolls short loops over a row, and only then are its elements registers: one row of
// a tile at a time.
fn product(query: ptr<function, Row>, tile: ptr<function, Tile>, n: u32) -> f32 {
  var sum = vec4f();
  for (var i = 0u; i < WIDTH4; i++) { sum = fma((*query)[i], part(tile, n, i), sum); }
  return (sum.x + sum.y) + (sum.z + sum.w);
}

fn products(query: ptr<function, Row>, tile: ptr<function, Tile>) -> vec2f {
  return vec2f(product(query, tile, 0u), product(query, tile, 1u));
}

fn add(out: ptr<function, Row>, weight: f32, tile: ptr<function, Tile>, n: u32) {
  for (var i = 0u; i < WIDTH4; i++) { (*out)[i] = fma(vec4f(weight), part(tile, n, i), (*out)[i]); }
}

fn add_all(out: ptr<function, Row>, decay: f32, weight: vec2f, tile: ptr<function, Tile>) {
  for (var i = 0u; i < WIDTH4; i++) { (*out)[i] *= decay; }
  add(out, weight.x, tile, 0u);
  add(out, weight.y, tile, 1u);
}

fn store(t: u32, head: u32, out: Row, state: State) {
  if (t < params.tokens) {
    let row = t * params.heads + head;
    for (var i = 0u; i < WIDTH4; i++) { y[row * WIDTH4 + i] = out[i] / state.total; }
    row_sums[row].x = state.highest + log(state.total);
  }
}

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let first = group.x * QUERIES;
  let last = params.tokens - 1u;
  let ta = min(first + lane.x, last);
  let tb = min(first + LANES + lane.x, last);
  let head = group.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let start_a = segment_start[ta];
  let start_b = segment_start[tb];
  var query_a = load_query(ta, head);
  var query_b = load_query(tb, head);
  var out_a: Row;
  var out_b: Row;
  var state_a = State(MASKED, 0.0);
  var state_b = State(MASKED, 0.0);

  // Bounds that hold for every lane of the workgroup; each lane masks what is not its own.
  let high = min(first + QUERIES, params.tokens);
  for (var j = segment_start[first]; j < high; j += KEYS) {
    var keys: Tile;
    var values: Tile;
    for (var n = 0u; n < LOADS; n++) {
      let at = place(j, n * LANES + lane.x, kv_head);
      keys[n] = floats4(k[at]);
      values[n] = floats4(v[at]);
    }
    let index = vec2u(j, j + 1u);
    var decay_a: f32;
    var decay_b: f32;
    let weight_a = update(&state_a, products(&query_a, &keys),
      (index >= vec2u(start_a)) & (index <= vec2u(ta)), &decay_a);
    let weight_b = update(&state_b, products(&query_b, &keys),
      (index >= vec2u(start_b)) & (index <= vec2u(tb)), &decay_b);
    add_all(&out_a, decay_a, weight_a, &values);
    add_all(&out_b, decay_b, weight_b, &values);
  }
  store(first + lane.x, head, out_a, state_a);
  store(first + LANES + lane.x, head, out_b, state_b);
}
