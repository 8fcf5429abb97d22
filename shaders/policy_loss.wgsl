// The loss of each sampled token as a function of its log-probability, with dL/dlogprob and the
// diagnostics that reveal a broken update. weight = mask / normaliser, so that sums are means.
// One entry point per rule; how tokens are averaged is the weights' business (rl/loss_weights.ts),
// and whether the ratio is a token's or its sequence's that of `sequence_ratio`.

struct Params {
  rows: u32,
  kl_form: u32,             // 1, 2 or 3: k1, k2, k3 (Schulman 2020); 4: k3 times the ratio
  kl_coefficient: f32,
  clip_low: f32,
  clip_high: f32,
  ratio_max: f32,
}

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read> logprob: array<f32>;            // [N] under the policy being trained
@group(0) @binding(1) var<storage, read> old_logprob: array<f32>;        // [N] under the policy that sampled
@group(0) @binding(2) var<storage, read> reference_logprob: array<f32>;  // [N] under the frozen reference
@group(0) @binding(3) var<storage, read> advantage: array<f32>;          // [N]
@group(0) @binding(4) var<storage, read> weight: array<f32>;             // [N]
@group(0) @binding(5) var<storage, read> entropy: array<f32>;            // [N]
@group(0) @binding(6) var<storage, read_write> dlogprob: array<f32>;     // [N]
// [N, 3]: (loss, KL to the reference, clipped below, clipped above), (k3 to the old policy, entropy,
// |log ratio|, weight), (ratio, ratio^2, log ratio^2, beyond ratio_max), each but the loss and the
// weight multiplied by the weight
@group(0) @binding(7) var<storage, read_write> metrics: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

// A rule's loss and its derivative by log r; which bound holds it.
struct Term { loss: f32, gradient: f32, below: bool, above: bool, beyond: bool }

fn log_ratio_of(n: u32) -> f32 { return clamp(logprob[n] - old_logprob[n], -20.0, 20.0); }

// Adds the divergence from the reference, k1 = d, k2 = d^2 / 2, k3 = e^-d - 1 + d with
// d = lp - ref, and writes what token n comes to.
fn write(n: u32, term: Term) {
  let difference = logprob[n] - old_logprob[n];
  let log_ratio = log_ratio_of(n);
  let ratio = exp(log_ratio);
  let w = weight[n];
  let d = logprob[n] - reference_logprob[n];
  var kl = exp(-d) - 1.0 + d;
  var slope = 1.0 - exp(-d);
  if (params.kl_form == 1u) { kl = d; slope = 1.0; }
  if (params.kl_form == 2u) { kl = 0.5 * d * d; slope = d; }
  if (params.kl_form == 4u) { slope = ratio * (slope + kl); kl *= ratio; }
  var loss = term.loss + params.kl_coefficient * kl;
  // Beyond e^20 the ratio is a constant.
  var gradient = select(term.gradient, 0.0, log_ratio != difference) + params.kl_coefficient * slope;
  // min, max and clamp swallow NaN; the loss must not.
  if (!is_finite(difference)) { loss = difference; gradient = difference; }
  dlogprob[n] = w * gradient;
  metrics[3u * n] = w * vec4f(loss, kl, f32(term.below), f32(term.above));
  metrics[3u * n + 1u] =
    w * vec4f(exp(-log_ratio) + log_ratio - 1.0, entropy[n], abs(log_ratio), 1.0);
  metrics[3u * n + 2u] = w * vec4f(ratio, ratio * ratio, log_ratio * log_ratio, f32(term.beyond));
}

// PPO's clipped surrogate (Schulman et al. 2017, eq. 7) with separate bounds (DAPO, Yu et al. 2025),
// and a last one for bad tokens that have become likely (dual clip, Ye et al. 2020):
// L = -min(min(r, ratio_max) A, clip(r, 1 - low, 1 + high) A)
@compute @workgroup_size(LANES)
fn clipped(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let n = linear_index(group, groups) * LANES + lane.x;
  if (n >= params.rows) { return; }
  let a = advantage[n];
  let ratio = exp(log_ratio_of(n));
  let below = a < 0.0 && ratio < 1.0 - params.clip_low;
  let above = a > 0.0 && ratio > 1.0 + params.clip_high;
  let beyond = a < 0.0 && ratio > params.ratio_max;
  let bounded = clamp(ratio, 1.0 - params.clip_low, 1.0 + params.clip_high);
  let loss = -min(min(ratio, params.ratio_max) * a, bounded * a);
  write(n, Term(loss, select(-ratio * a, 0.0, below || above || beyond), below, above, beyond));
}

// CISPO (MiniMax-M1, 2025): every token learns, with a weight that is bounded instead of the ratio:
// L = -stop(min(r, ratio_max)) A lp
@compute @workgroup_size(LANES)
fn cispo(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let n = linear_index(group, groups) * LANES + lane.x;
  if (n >= params.rows) { return; }
  let a = advantage[n];
  let ratio = exp(log_ratio_of(n));
  let slope = -min(ratio, params.ratio_max) * a;
  write(n, Term(slope * logprob[n], slope, false, a > 0.0 && ratio > params.ratio_max, false));
}

// SAPO (Gao et al. 2025): a soft gate in place of clips, with temperatures clip_high for good and
// clip_low for bad tokens: L = -(4 / tau) sigmoid(tau (r - 1)) A
@compute @workgroup_size(LANES)
fn sapo(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let n = linear_index(group, groups) * LANES + lane.x;
  if (n >= params.rows) { return; }
  let a = advantage[n];
  let ratio = exp(log_ratio_of(n));
  let tau = select(params.clip_low, params.clip_high, a > 0.0);
  let gate = 1.0 / (1.0 + exp(-tau * (ratio - 1.0)));
  let slope = -4.0 * gate * (1.0 - gate) * ratio * a;
  write(n, Term(-4.0 / tau * gate * a, slope, false, false, false));
}

struct SequenceParams { sequences: u32 }

@group(0) @binding(2) var<storage, read> starts: array<u32>;             // [S + 1] first token of each
@group(0) @binding(3) var<storage, read_write> level_logprob: array<f32>; // [N]
@group(1) @binding(0) var<uniform> sequence_params: SequenceParams;

// The old log-probabilities with which each token's log ratio is the mean over its sequence (GSPO,
// Zheng et al. 2025). d loss_i / d lp_t is w (dL / d log r) there, too: the mean's 1 / n meets n
// tokens of the same weight and advantage. One lane per sequence.
@compute @workgroup_size(LANES)
fn sequence_ratio(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let i = linear_index(group, groups) * LANES + lane.x;
  if (i >= sequence_params.sequences) { return; }
  let first = starts[i];
  let end = starts[i + 1u];
  var sum = 0.0;
  for (var n = first; n < end; n++) { sum += logprob[n] - old_logprob[n]; }
  let mean = sum / f32(max(end - first, 1u));
  for (var n = first; n < end; n++) { level_logprob[n] = logprob[n] - mean; }
}

struct NllParams { rows: u32 }

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
  metrics[3u * n] = vec4f(-w * logprob[n], 0.0, 0.0, 0.0);
  metrics[3u * n + 1u] = vec4f(0.0, w * entropy[n], 0.0, w);
  metrics[3u * n + 2u] = vec4f(w, w, 0.0, 0.0);
}
