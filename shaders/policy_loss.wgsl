// The loss of each sampled token as a function of its log-probability, with dL/dlogprob and the
// diagnostics that reveal a broken update. weight = mask / normaliser, so that sums are means.

struct Params { rows: u32, clip_low: f32, clip_high: f32, kl_coefficient: f32 }
struct NllParams { rows: u32 }

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read> logprob: array<f32>;            // [N] under the policy being trained
@group(0) @binding(1) var<storage, read> old_logprob: array<f32>;        // [N] under the policy that sampled
@group(0) @binding(2) var<storage, read> reference_logprob: array<f32>;  // [N] under the frozen reference
@group(0) @binding(3) var<storage, read> advantage: array<f32>;          // [N]
@group(0) @binding(4) var<storage, read> weight: array<f32>;             // [N]
@group(0) @binding(5) var<storage, read> entropy: array<f32>;            // [N]
@group(0) @binding(6) var<storage, read_write> dlogprob: array<f32>;     // [N]
// [N, 2]: (loss, k3 to the reference, clipped below, clipped above), (k3 to the old policy,
// entropy, |log ratio|, weight), each but the loss and the weight multiplied by the weight
@group(0) @binding(7) var<storage, read_write> metrics: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

// PPO's clipped surrogate (Schulman et al. 2017, eq. 7) with separate bounds (DAPO, Yu et al. 2025)
// and the k3 estimate of the KL divergence (Schulman 2020) in the loss:
// L = -min(r A, clip(r, 1 - low, 1 + high) A) + beta (exp(ref - lp) - (ref - lp) - 1)
@compute @workgroup_size(LANES)
fn clipped(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let n = linear_index(group, groups) * LANES + lane.x;
  if (n >= params.rows) { return; }
  let a = advantage[n];
  let w = weight[n];
  let difference = logprob[n] - old_logprob[n];
  let log_ratio = clamp(difference, -20.0, 20.0);
  let ratio = exp(log_ratio);
  let below = a < 0.0 && ratio < 1.0 - params.clip_low;
  let above = a > 0.0 && ratio > 1.0 + params.clip_high;
  let bounded = clamp(ratio, 1.0 - params.clip_low, 1.0 + params.clip_high);
  var loss = -min(ratio * a, bounded * a);
  var gradient = select(-ratio * a, 0.0, below || above || log_ratio != difference);
  let gap = reference_logprob[n] - logprob[n];
  let kl = exp(gap) - gap - 1.0;
  loss += params.kl_coefficient * kl;
  gradient += params.kl_coefficient * (1.0 - exp(gap));
  // min, max and clamp swallow NaN; the loss must not.
  if (!is_finite(difference)) { loss = difference; gradient = difference; }
  dlogprob[n] = w * gradient;
  metrics[2u * n] = w * vec4f(loss, kl, select(0.0, 1.0, below), select(0.0, 1.0, above));
  metrics[2u * n + 1u] = w * vec4f(exp(-log_ratio) + log_ratio - 1.0, entropy[n], abs(log_ratio), 1.0);
}

@group(1) @binding(0) var<uniform> nll_params: NllParams;

// Negative log-likelihood: L = -lp
@compute @workgroup_size(LANES)
fn nll(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let n = linear_index(group, groups) * LANES + lane.x;
  if (n >= nll_params.rows) { return; }
  let w = weight[n];
  dlogprob[n] = -w;
  metrics[2u * n] = vec4f(-w * logprob[n], 0.0, 0.0, 0.0);
  metrics[2u * n + 1u] = vec4f(0.0, w * entropy[n], 0.0, w);
}
