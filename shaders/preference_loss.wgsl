// Direct preference optimisation (Rafailov et al. 2023, eq. 7) with label smoothing (Mitchell 2023):
//   m = beta ((l_w - ref_w) - (l_l - ref_l)),  L = -(1 - e) log sigmoid(m) - e log sigmoid(-m)
// where l_w and l_l are sums of the log-probabilities of the chosen and the rejected completion.

struct Params { pairs: u32, beta: f32, label_smoothing: f32 }

override LANES: u32 = 8;

@group(0) @binding(0) var<storage, read> logprob: array<f32>;         // [N], the tokens of all pairs
@group(0) @binding(1) var<storage, read> entropy: array<f32>;         // [N]
@group(0) @binding(2) var<storage, read> starts: array<u32>;          // [2 P + 1] of chosen, rejected, chosen, ...; then N
@group(0) @binding(3) var<storage, read> references: array<vec2f>;    // [P] ref_w, ref_l
@group(0) @binding(4) var<storage, read> weight: array<f32>;          // [P] 1 / number of pairs
@group(0) @binding(5) var<storage, read_write> dlogprob: array<f32>;  // [N]
// [P, 2]: (L, reward of the chosen, of the rejected, m), (m > 0, l_w, l_l, mean entropy of the
// tokens), all multiplied by the weight
@group(0) @binding(6) var<storage, read_write> metrics: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

// log(1 + e^x)
fn softplus(x: f32) -> f32 { return max(x, 0.0) + log(1.0 + exp(-abs(x))); }

// One lane per pair.
@compute @workgroup_size(LANES)
fn sigmoid(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let pair = linear_index(group, groups) * LANES + lane.x;
  if (pair >= params.pairs) { return; }
  let first = starts[2u * pair];
  let middle = starts[2u * pair + 1u];
  let last = starts[2u * pair + 2u];
  var chosen = 0.0;
  var rejected = 0.0;
  var entropies = 0.0;
  for (var n = first; n < last; n++) {
    if (n < middle) { chosen += logprob[n]; } else { rejected += logprob[n]; }
    entropies += entropy[n];
  }
  let rewards = params.beta * (vec2f(chosen, rejected) - references[pair]);
  let margin = rewards.x - rewards.y;
  let e = params.label_smoothing;
  var loss = (1.0 - e) * softplus(-margin) + e * softplus(margin);
  // e sigmoid(m) - (1 - e) sigmoid(-m)
  var derivative = e / (1.0 + exp(-margin)) - (1.0 - e) / (1.0 + exp(margin));
  // max swallows NaN; the loss must not.
  if (!is_finite(margin)) { loss = margin; derivative = margin; }
  let w = weight[pair];
  let d = w * params.beta * derivative;
  for (var n = first; n < last; n++) { dlogprob[n] = select(-d, d, n < middle); }
  metrics[2u * pair] = w * vec4f(loss, rewards, margin);
  let mean_entropy = entropies / f32(max(last - first, 1u));
  metrics[2u * pair + 1u] = w * vec4f(select(0.0, 1.0, margin > 0.0), chosen, rejected, mean_entropy);
}
