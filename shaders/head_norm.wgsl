// RMSNorm of every head of queries and of keys (Henry et al. 2020), values passing through:
// y = x rstd (offset + w) with rstd = 1 / sqrt(mean(x^2) + epsilon) over the D numbers of a head.
// One lane per head of a token.

struct Params { rows: u32, heads: u32, kv_heads: u32, epsilon: f32, offset: f32, beta: f32 }
// Of the heads of one kind: the first, and how many there are.
struct PartialParams { rows: u32, heads: u32, kv_heads: u32, block: u32, first: u32, count: u32 }

override LANES: u32 = 8;
override WIDTH4: u32 = 16;  // D/4

@group(0) @binding(0) var<storage, read> qkv: array<vec4f>;              // [T, H + 2 KV, D/4]
@group(0) @binding(1) var<storage, read> w_q: array<vec4f>;              // [D/4]
@group(0) @binding(2) var<storage, read> w_k: array<vec4f>;              // [D/4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;          // [T, H + 2 KV, D/4]
@group(0) @binding(4) var<storage, read_write> rstd: array<f32>;         // [T, H + 2 KV], not of values
@group(1) @binding(0) var<uniform> params: Params;

fn weight(head: u32, i: u32) -> vec4f {
  if (head < params.heads) { return w_q[i] + params.offset; }
  return w_k[i] + params.offset;
}

@compute @workgroup_size(LANES)
fn forward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let row = linear_index(group, groups) * LANES + lane.x;
  let all = params.heads + 2u * params.kv_heads;
  if (row >= params.rows * all) { return; }
  let head = row % all;
  let base = row * WIDTH4;
  if (head >= params.heads + params.kv_heads) {
    for (var i = 0u; i < WIDTH4; i++) { y[base + i] = qkv[base + i]; }
    return;
  }
  var squares = vec4f();
  for (var i = 0u; i < WIDTH4; i++) { squares = fma(qkv[base + i], qkv[base + i], squares); }
  let r = 1.0 / sqrt(dot(squares, vec4f(1.0)) / f32(4u * WIDTH4) + params.epsilon);
  rstd[row] = r;
  for (var i = 0u; i < WIDTH4; i++) { y[base + i] = qkv[base + i] * r * weight(head, i); }
}

@group(0) @binding(3) var<storage, read> dy: array<vec4f>;               // [T, H + 2 KV, D/4]
@group(0) @binding(4) var<storage, read> saved_rstd: array<f32>;         // [T, H + 2 KV]
@group(0) @binding(5) var<storage, read_write> dqkv: array<vec4f>;       // [T, H + 2 KV, D/4]

@compute @workgroup_size(LANES)
fn backward_x(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let row = linear_index(group, groups) * LANES + lane.x;
  let all = params.heads + 2u * params.kv_heads;
  if (row >= params.rows * all) { return; }
  let head = row % all;
  let base = row * WIDTH4;
  let passes = head >= params.heads + params.kv_heads;
  var products = vec4f();
  if (!passes) {
    for (var i = 0u; i < WIDTH4; i++) {
      products = fma(weight(head, i) * dy[base + i], qkv[base + i], products);
    }
  }
  let r = saved_rstd[row];
  let scale = r * r * dot(products, vec4f(1.0)) / f32(4u * WIDTH4);
  for (var i = 0u; i < WIDTH4; i++) {
    var value = dy[base + i];
    if (!passes) { value = r * (weight(head, i) * value - qkv[base + i] * scale); }
    if (params.beta != 0.0) { value += params.beta * dqkv[base + i]; }
    dqkv[base + i] = value;
  }
}

// dw = sum over tokens and heads of dy x rstd, as one partial sum per block of tokens.
@group(0) @binding(5) var<storage, read_write> partial_sums: array<vec4f>;   // [blocks, D/4]
@group(1) @binding(0) var<uniform> partial_params: PartialParams;

@compute @workgroup_size(LANES)
fn backward_w(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let column = group.x * LANES + lane.x;
  if (column >= WIDTH4) { return; }
  let all = partial_params.heads + 2u * partial_params.kv_heads;
  let last = min((group.y + 1u) * partial_params.block, partial_params.rows);
  var sum = vec4f();
  for (var t = group.y * partial_params.block; t < last; t++) {
    let first = t * all + partial_params.first;
    for (var row = first; row < first + partial_params.count; row++) {
      sum = fma(dy[row * WIDTH4 + column], qkv[row * WIDTH4 + column] * saved_rstd[row], sum);
    }
  }
  partial_sums[group.y * WIDTH4 + column] = sum;
}
