// Rotary position embedding: rotates the pairs (x[i], x[i + D/2]) of every head by position * theta^(-2i/D).
//
// Queries, keys and values come out of one product, side by side in each row; here they part, and
// come together again on the way back. Backward is the same rotation with the sign of the angle
// flipped. Cosines and sines come from a table computed on the host in f64: the shader's own sin()
// loses digits at large angles.

struct Params { rows: u32, heads: u32, kv_heads: u32, half: u32, length: u32, beta: f32 }

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read> qkv: array<vec4f>;              // [T, H + 2 KV, D/4]
@group(0) @binding(1) var<storage, read> positions: array<u32>;          // [T]
@group(0) @binding(2) var<storage, read> cosines: array<vec4f>;          // [positions, D/8]
@group(0) @binding(3) var<storage, read> sines: array<vec4f>;            // [positions, D/8]
@group(0) @binding(4) var<storage, read_write> q: array<vec4f>;          // [T, H, D/4]
@group(0) @binding(5) var<storage, read_write> k: array<vec4f>;          // [T, KV, D/4]
@group(0) @binding(6) var<storage, read_write> v: array<vec4f>;          // [T, KV, D/4]
@group(1) @binding(0) var<uniform> params: Params;

// A lane's pair of vec4s: which row and head, and where in the head.
struct Place { row: u32, head: u32, i: u32, half4: u32 }

fn place(index: u32) -> Place {
  let half4 = params.half / 4u;
  let heads = params.heads + 2u * params.kv_heads;
  let head = index / half4;
  return Place(head / heads, head % heads, index % half4, half4);
}

fn rotate(pair: array<vec4f, 2>, at: Place, sign: f32) -> array<vec4f, 2> {
  let angle = positions[at.row] * at.half4 + at.i;
  let cosine = cosines[angle];
  let sine = sign * sines[angle];
  return array(pair[0] * cosine - pair[1] * sine, pair[1] * cosine + pair[0] * sine);
}

@compute @workgroup_size(LANES)
fn split(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = place(linear_index(group, groups) * LANES + lane.x);
  if (at.row >= params.rows) { return; }
  let heads = params.heads + 2u * params.kv_heads;
  let first = (at.row * heads + at.head) * 2u * at.half4 + at.i;
  let pair = array(qkv[first], qkv[first + at.half4]);
  if (at.head < params.heads) {
    let y = rotate(pair, at, 1.0);
    let to = (at.row * params.heads + at.head) * 2u * at.half4 + at.i;
    q[to] = y[0];
    q[to + at.half4] = y[1];
  } else if (at.head < params.heads + params.kv_heads) {
    let y = rotate(pair, at, 1.0);
    let to = (at.row * params.kv_heads + at.head - params.heads) * 2u * at.half4 + at.i;
    k[to] = y[0];
    k[to + at.half4] = y[1];
  } else {
    let to = (at.row * params.kv_heads + at.head - params.heads - params.kv_heads) * 2u * at.half4 + at.i;
    v[to] = pair[0];
    v[to + at.half4] = pair[1];
  }
}

@group(0) @binding(5) var<storage, read_write> cache_k: array<vec4f>;    // [S, L, KV, D/4]
@group(0) @binding(6) var<storage, read_write> cache_v: array<vec4f>;    // [S, L, KV, D/4]
@group(0) @binding(7) var<storage, read> slots: array<u32>;              // [T]

// The same with keys and values going to each row's place in the cache. A row whose position is
// past the cache's length (0xffffffff where a slot is idle) is skipped.
@compute @workgroup_size(LANES)
fn split_to_cache(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = place(linear_index(group, groups) * LANES + lane.x);
  if (at.row >= params.rows) { return; }
  let position = positions[at.row];
  if (position >= params.length) { return; }
  let heads = params.heads + 2u * params.kv_heads;
  let first = (at.row * heads + at.head) * 2u * at.half4 + at.i;
  let pair = array(qkv[first], qkv[first + at.half4]);
  let cached = (slots[at.row] * params.length + position) * params.kv_heads;
  if (at.head < params.heads) {
    let y = rotate(pair, at, 1.0);
    let to = (at.row * params.heads + at.head) * 2u * at.half4 + at.i;
    q[to] = y[0];
    q[to + at.half4] = y[1];
  } else if (at.head < params.heads + params.kv_heads) {
    let y = rotate(pair, at, 1.0);
    let to = (cached + at.head - params.heads) * 2u * at.half4 + at.i;
    cache_k[to] = y[0];
    cache_k[to + at.half4] = y[1];
  } else {
    let to = (cached + at.head - params.heads - params.kv_heads) * 2u * at.half4 + at.i;
    cache_v[to] = pair[0];
    cache_v[to + at.half4] = pair[1];
  }
}

@group(0) @binding(0) var<storage, read_write> dqkv: array<vec4f>;       // [T, H + 2 KV, D/4]
@group(0) @binding(4) var<storage, read> dq: array<vec4f>;               // [T, H, D/4]
@group(0) @binding(5) var<storage, read> dk: array<vec4f>;               // [T, KV, D/4]
@group(0) @binding(6) var<storage, read> dv: array<vec4f>;               // [T, KV, D/4]

@compute @workgroup_size(LANES)
fn join(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = place(linear_index(group, groups) * LANES + lane.x);
  if (at.row >= params.rows) { return; }
  let heads = params.heads + 2u * params.kv_heads;
  let first = (at.row * heads + at.head) * 2u * at.half4 + at.i;
  var pair: array<vec4f, 2>;
  if (at.head < params.heads) {
    let from_q = (at.row * params.heads + at.head) * 2u * at.half4 + at.i;
    pair = rotate(array(dq[from_q], dq[from_q + at.half4]), at, -1.0);
  } else if (at.head < params.heads + params.kv_heads) {
    let from_k = (at.row * params.kv_heads + at.head - params.heads) * 2u * at.half4 + at.i;
    pair = rotate(array(dk[from_k], dk[from_k + at.half4]), at, -1.0);
  } else {
    let from_v = (at.row * params.kv_heads + at.head - params.heads - params.kv_heads) * 2u * at.half4 + at.i;
    pair = array(dv[from_v], dv[from_v + at.half4]);
  }
  if (params.beta != 0.0) {
    pair[0] += params.beta * dqkv[first];
    pair[1] += params.beta * dqkv[first + at.half4];
  }
  dqkv[first] = pair[0];
  dqkv[first + at.half4] = pair[1];
}
