// Rotary position embedding: rotates the pairs (x[i], x[i + R/2]) of the first R of a head's D
// numbers by an angle that grows with the position; the others, if any, stay as they are.
//
// Queries, keys and values come out of one product, side by side in each row; here they part, and
// come together again on the way back. Backward is the same rotation with the sign of the angle
// flipped. Cosines and sines come from a table computed on the host in f64: the shader's own sin()
// loses digits at large angles.

// half: D/2, rotated: R/2
struct Params { rows: u32, heads: u32, kv_heads: u32, half: u32, rotated: u32, length: u32, beta: f32 }

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read> qkv: array<vec4f>;              // [T, H + 2 KV, D/4]
@group(0) @binding(1) var<storage, read> positions: array<u32>;          // [T]
@group(0) @binding(2) var<storage, read> cosines: array<vec4f>;          // [positions, R/8]
@group(0) @binding(3) var<storage, read> sines: array<vec4f>;            // [positions, R/8]
@group(0) @binding(4) var<storage, read_write> q: array<vec4f>;          // [T, H, D/4]
@group(0) @binding(5) var<storage, read_write> k: array<vec4f>;          // [T, KV, D/4]
@group(0) @binding(6) var<storage, read_write> v: array<vec4f>;          // [T, KV, D/4]
@group(1) @binding(0) var<uniform> params: Params;

// A lane's pair of vec4s: which row and head, which pair, and where its two are in the head.
struct Place { row: u32, head: u32, i: u32, first: u32, second: u32, width4: u32 }

fn place(index: u32) -> Place {
  let half4 = params.half / 4u;
  let rotated4 = params.rotated / 4u;
  let heads = params.heads + 2u * params.kv_heads;
  let head = index / half4;
  let i = index % half4;
  // Behind the rotated ones, neighbours make a pair.
  let first = select(2u * i, i, i < rotated4);
  let second = select(2u * i + 1u, i + rotated4, i < rotated4);
  return Place(head / heads, head % heads, i, first, second, 2u * half4);
}

fn rotate(pair: array<vec4f, 2>, at: Place, sign: f32) -> array<vec4f, 2> {
  let rotated4 = params.rotated / 4u;
  if (at.i >= rotated4) { return pair; }
  let angle = positions[at.row] * rotated4 + at.i;
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
  let first = (at.row * heads + at.head) * at.width4;
  let pair = array(qkv[first + at.first], qkv[first + at.second]);
  if (at.head < params.heads) {
    let y = rotate(pair, at, 1.0);
    let to = (at.row * params.heads + at.head) * at.width4;
    q[to + at.first] = y[0];
    q[to + at.second] = y[1];
  } else if (at.head < params.heads + params.kv_heads) {
    let y = rotate(pair, at, 1.0);
    let to = (at.row * params.kv_heads + at.head - params.heads) * at.width4;
    k[to + at.first] = y[0];
    k[to + at.second] = y[1];
  } else {
    let to = (at.row * params.kv_heads + at.head - params.heads - params.kv_heads) * at.width4;
    v[to + at.first] = pair[0];
    v[to + at.second] = pair[1];
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
  let first = (at.row * heads + at.head) * at.width4;
  let pair = array(qkv[first + at.first], qkv[first + at.second]);
  let cached = (slots[at.row] * params.length + position) * params.kv_heads;
  if (at.head < params.heads) {
    let y = rotate(pair, at, 1.0);
    let to = (at.row * params.heads + at.head) * at.width4;
    q[to + at.first] = y[0];
    q[to + at.second] = y[1];
  } else if (at.head < params.heads + params.kv_heads) {
    let y = rotate(pair, at, 1.0);
    let to = (cached + at.head - params.heads) * at.width4;
    cache_k[to + at.first] = y[0];
    cache_k[to + at.second] = y[1];
  } else {
    let to = (cached + at.head - params.heads - params.kv_heads) * at.width4;
    cache_v[to + at.first] = pair[0];
    cache_v[to + at.second] = pair[1];
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
  let first = (at.row * heads + at.head) * at.width4;
  var pair: array<vec4f, 2>;
  if (at.head < params.heads) {
    let from_q = (at.row * params.heads + at.head) * at.width4;
    pair = rotate(array(dq[from_q + at.first], dq[from_q + at.second]), at, -1.0);
  } else if (at.head < params.heads + params.kv_heads) {
    let from_k = (at.row * params.kv_heads + at.head - params.heads) * at.width4;
    pair = rotate(array(dk[from_k + at.first], dk[from_k + at.second]), at, -1.0);
  } else {
    let from_v = (at.row * params.kv_heads + at.head - params.heads - params.kv_heads) * at.width4;
    pair = array(dv[from_v + at.first], dv[from_v + at.second]);
  }
  if (params.beta != 0.0) {
    pair[0] += params.beta * dqkv[first + at.first];
    pair[1] += params.beta * dqkv[first + at.second];
  }
  dqkv[first + at.first] = pair[0];
  dqkv[first + at.second] = pair[1];
}
