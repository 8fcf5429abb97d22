// Generalised advantage estimation over the sampled tokens of packed sequences, and whitening.

struct GaeParams { sequences: u32, gamma: f32, lambda: f32 }
struct TermParams { count: u32, padded: u32, squared: u32 }
struct WhitenParams { count: u32, shift_mean: u32 }

override LANES: u32 = 8;
override WIDE: u32 = 256;

@group(0) @binding(0) var<storage, read> reward: array<f32>;             // [N]
@group(0) @binding(1) var<storage, read> value: array<f32>;              // [N]
@group(0) @binding(2) var<storage, read> starts: array<u32>;             // [S+1] first token of each sequence, and N
@group(0) @binding(3) var<storage, read_write> advantage: array<f32>;    // [N]
@group(0) @binding(4) var<storage, read_write> returns: array<f32>;      // [N]
@group(1) @binding(0) var<uniform> gae_params: GaeParams;

// Schulman et al. 2016, eq. 16, from the last token to the first; V after the last is 0.
// delta[t] = r[t] + gamma V[t+1] - V[t], A[t] = delta[t] + gamma lambda A[t+1], R[t] = A[t] + V[t]
@compute @workgroup_size(LANES)
fn gae(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let s = linear_index(group, groups) * LANES + lane.x;
  if (s >= gae_params.sequences) { return; }
  let first = starts[s];
  let decay = gae_params.gamma * gae_params.lambda;
  var next_value = 0.0;
  var next_advantage = 0.0;
  for (var t = starts[s + 1u]; t > first; t--) {
    let v = value[t - 1u];
    let delta = reward[t - 1u] + gae_params.gamma * next_value - v;
    next_advantage = delta + decay * next_advantage;
    next_value = v;
    advantage[t - 1u] = next_advantage;
    returns[t - 1u] = next_advantage + v;
  }
}

@group(0) @binding(0) var<storage, read> x: array<f32>;                  // [N]
@group(0) @binding(1) var<storage, read> sums: array<f32>;               // [4], which add up to sum x
@group(0) @binding(2) var<storage, read> square_sums: array<f32>;        // [4], to sum (x - mean)^2
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(1) @binding(0) var<uniform> term_params: TermParams;
@group(1) @binding(0) var<uniform> whiten_params: WhitenParams;

fn mean_of(count: u32) -> f32 {
  return (sums[0] + sums[1] + sums[2] + sums[3]) / f32(count);
}

// What is to be summed: y = x, or (x - mean)^2; 0 up to a whole vec4.
@compute @workgroup_size(WIDE)
fn terms(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let n = linear_index(group, groups) * WIDE + lane.x;
  if (n >= term_params.padded) { return; }
  var term = 0.0;
  if (n < term_params.count) {
    term = x[n];
    if (term_params.squared != 0u) {
      term -= mean_of(term_params.count);
      term *= term;
    }
  }
  y[n] = term;
}

// y = (x - mean) / sqrt(var + 1e-8), plus the mean where it is not to be shifted. The variance is
// the unbiased one; that of a single value is taken to be 0.
@compute @workgroup_size(WIDE)
fn whiten(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let n = linear_index(group, groups) * WIDE + lane.x;
  let count = whiten_params.count;
  if (n >= count) { return; }
  let mean = mean_of(count);
  let squares = square_sums[0] + square_sums[1] + square_sums[2] + square_sums[3];
  let variance = squares / f32(max(count, 2u) - 1u);
  let whitened = (x[n] - mean) * inverseSqrt(variance + 1e-8);
  y[n] = whitened + select(mean, 0.0, whiten_params.shift_mean != 0u);
}
