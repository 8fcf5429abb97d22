// What low-rank adapters need beside products: dropout, and gradients that stay in their blocks.

struct Params { count: u32, scale: f32, rate: f32, seed: u32, stream: u32, beta: f32 }
// Rows [first, last) of up to three blocks; block i has columns [i width, (i + 1) width).
struct BlockParams {
  rows: u32, columns: u32, width: u32,
  first_a: u32, last_a: u32, first_b: u32, last_b: u32, first_c: u32, last_c: u32,
}

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

// y = scale * x + beta y, where each element of x is dropped with probability `rate`, by a draw
// that depends on (seed, stream, element) alone: forward and backward drop the same ones.
@compute @workgroup_size(LANES)
fn dropout(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  if (at >= params.count / 4u) { return; }
  var value = params.scale * x[at];
  if (params.rate > 0.0) {
    let bits = random_bits(vec4u(params.seed, params.stream, at, 0x10Au));
    let kept = vec4f(bits >> vec4u(8u)) >= vec4f(params.rate * 16777216.0);
    value = select(vec4f(), value, kept);
  }
  if (params.beta != 0.0) { value += params.beta * y[at]; }
  y[at] = value;
}

@group(0) @binding(0) var<storage, read_write> blocks: array<vec4f>;     // [rows, columns/4]
@group(1) @binding(0) var<uniform> block_params: BlockParams;

// Zeroes what lies outside of the blocks.
@compute @workgroup_size(LANES)
fn keep_blocks(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  let columns4 = block_params.columns / 4u;
  if (at >= block_params.rows * columns4) { return; }
  let row = at / columns4;
  let block = at % columns4 * 4u / block_params.width;
  var bounds = vec2u(block_params.first_a, block_params.last_a);
  if (block == 1u) { bounds = vec2u(block_params.first_b, block_params.last_b); }
  if (block == 2u) { bounds = vec2u(block_params.first_c, block_params.last_c); }
  if (row < bounds.x || row >= bounds.y) { blocks[at] = vec4f(); }
}
