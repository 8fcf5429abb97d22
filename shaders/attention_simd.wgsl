// attention.wgsl for adapters that run a workgroup as one SIMD vector: each load of a key or value
// fetches 8 of its components, one per lane, which the lanes then hand round.

struct Params { tokens: u32, heads: u32, kv_heads: u32, scale: f32 }

const LANES = 8u;
const WIDTH4 = HEAD_DIM / 4u;
const LOADS = (HEAD_DIM + LANES - 1u) / LANES;
const MASKED = -1e30;

@group(0) @binding(0) var<storage, read> q: array<vec4f>;                // [T, H, D/4]
@group(0) @binding(1) var<storage, read> k: array<f32>;                  // [T, KV, D]
@group(0) @binding(2) var<storage, read> v: array<f32>;                  // [T, KV, D]
@group(0) @binding(3) var<storage, read> segment_start: array<u32>;      // [T]
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;          // [T, H, D/4]
@group(0) @binding(5) var<storage, read_write> row_sums: array<vec2f>;   // [T, H]: log-sum-exp of the scaled scores, room for delta
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

fn load_key(at: u32) -> Row {
  var row: Row;
  for (var i = 0u; i < LOADS; i++) { row[i] = k[at + i * LANES]; }
  return row;
}

fn load_value(at: u32) -> Row {
  var row: Row;
  for (var i = 0u; i < LOADS; i++) { row[i] = v[at + i * LANES]; }
  return row;
}

fn score_of(query: ptr<function, Wide>, row: Row) -> f32 {
  var sum = vec4f();
  for (var i = 0u; i < WIDTH4; i++) { sum = fma((*query)[i], components(row, i), sum); }
  return (sum.x + sum.y) + (sum.z + sum.w);
}

fn add_value(out: ptr<function, Wide>, weight: f32, row: Row) {
  for (var i = 0u; i < WIDTH4; i++) {
    (*out)[i] = fma(vec4f(weight), components(row, i), (*out)[i]);
  }
}

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let first = group.x * LANES;
  let last = params.tokens - 1u;
  let t = min(first + lane.x, last);
  let head = group.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let stride = params.kv_heads * HEAD_DIM;
  let column = kv_head * HEAD_DIM + lane.x;
  let start = segment_start[t];
  let at = (t * params.heads + head) * WIDTH4;

  var query: Wide;
  for (var i = 0u; i < WIDTH4; i++) { query[i] = q[at + i] * params.scale; }
  var out: Wide;
  var highest = MASKED;
  var total = 0.0;

  // Bounds that hold for every lane of the workgroup; each lane masks what is not its own.
  let low = segment_start[first];
  let high = min(first + LANES, params.tokens);
  for (var j = low; j < high; j += 4u) {
    let at0 = min(j, last) * stride + column;
    let at1 = min(j + 1u, last) * stride + column;
    let at2 = min(j + 2u, last) * stride + column;
    let at3 = min(j + 3u, last) * stride + column;
    let k0 = load_key(at0);
    let k1 = load_key(at1);
    let k2 = load_key(at2);
    let k3 = load_key(at3);
    let v0 = load_value(at0);
    let v1 = load_value(at1);
    let v2 = load_value(at2);
    let v3 = load_value(at3);
    var score = vec4f(
      score_of(&query, k0),
      score_of(&query, k1),
      score_of(&query, k2),
      score_of(&query, k3),
    );
    let index = vec4u(j, j + 1u, j + 2u, j + 3u);
    let seen = (index >= vec4u(start)) & (index <= vec4u(t));
    score = select(vec4f(MASKED), score, seen);
    let top = max(highest, max(max(score.x, score.y), max(score.z, score.w)));
    let weight = select(vec4f(), exp(score - top), seen);
    let decay = exp(highest - top);
    total = total * decay + dot(weight, vec4f(1.0));
    for (var i = 0u; i < WIDTH4; i++) { out[i] *= decay; }
    add_value(&out, weight.x, v0);
    add_value(&out, weight.y, v1);
    add_value(&out, weight.z, v2);
    add_value(&out, weight.w, v3);
    highest = top;
  }

  if (first + lane.x < params.tokens) {
    for (var i = 0u; i < WIDTH4; i++) { y[at + i] = out[i] / total; }
    row_sums[t * params.heads + head].x = highest + log(total);
  }
}
