// The generalised Jensen-Shannon divergence of a student p from a teacher q over the whole
// vocabulary (Agarwal et al. 2024, eq. 1), one chunk of it at a time:
//   D = beta KL(q || M) + (1 - beta) KL(p || M),  M = beta q + (1 - beta) p
// and its limits beta = 0: KL(q || p), M = p; beta = 1: KL(p || q), M = q. All in log space, where
// a probability too small for f32 still has its logarithm.

struct Params { rows: u32, chunk: u32, first: u32, beta: f32, inverse_temperature: f32 }

override WIDE: u32 = 256;

// log p - log M and log q - log M
struct LogRatios { student: vec4f, teacher: vec4f }

// As functions of d = log q - log p: both are differences of near numbers where p is near q.
fn log_ratios(d: vec4f, beta: f32) -> LogRatios {
  if (beta == 0.0) { return LogRatios(vec4f(), d); }
  if (beta == 1.0) { return LogRatios(-d, vec4f()); }
  // M over the larger of p and q; e^-|d| can't overflow.
  let larger = select(vec4f(1.0 - beta), vec4f(beta), d > vec4f());
  let scaled = log(fma(1.0 - larger, exp(-abs(d)), larger));
  return LogRatios(-(max(d, vec4f()) + scaled), -(max(-d, vec4f()) + scaled));
}

@group(0) @binding(0) var<storage, read> logits: array<vec4f>;             // [N, chunk/4]
@group(0) @binding(1) var<storage, read> teacher_logits: array<vec4f>;     // [N, chunk/4]
@group(0) @binding(2) var<storage, read> statistics: array<vec4f>;         // [N], of lm_head.accumulate
@group(0) @binding(3) var<storage, read> teacher_statistics: array<vec4f>; // [N]
@group(0) @binding(4) var<storage, read_write> sums: array<vec2f>;         // [N]: KL(p || M), KL(q || M)
@group(1) @binding(0) var<uniform> params: Params;

// Adds one chunk to the two divergences of each row; row_lanes.wgsl says which lanes go
// through one.
@compute @workgroup_size(LANES)
fn accumulate(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = row_part(group, groups, lane.x);
  let real = at.row < params.rows;
  let chunk4 = select(0u, params.chunk / 4u, real);
  let base = at.row * chunk4;
  let s = statistics[at.row];
  let t = teacher_statistics[at.row];
  let log_sum = log(s.y);
  let teacher_log_sum = log(t.y);
  var student = vec4f();
  var teacher = vec4f();
  for (var i = at.part; i < chunk4; i += ROW_LANES) {
    let log_p = logits[base + i] * params.inverse_temperature - s.x - log_sum;
    let log_q = teacher_logits[base + i] * params.inverse_temperature - t.x - teacher_log_sum;
    let ratios = log_ratios(log_q - log_p, params.beta);
    student = fma(exp(log_p), ratios.student, student);
    teacher = fma(exp(log_q), ratios.teacher, teacher);
  }
  var sum = vec2f(
    sum_over_row(lane.x, dot(student, vec4f(1.0))),
    sum_over_row(lane.x, dot(teacher, vec4f(1.0))),
  );
  if (!real || at.part != 0u) { return; }
  if (params.first == 0u) { sum += sums[at.row]; }
  sums[at.row] = sum;
}

struct FinishParams { rows: u32, student_share: f32, teacher_share: f32 }

@group(0) @binding(4) var<storage, read> final_sums: array<vec2f>;         // [N]
@group(0) @binding(5) var<storage, read> weight: array<f32>;               // [N] mask / normaliser
@group(0) @binding(6) var<storage, read_write> metrics: array<vec4f>;      // [N]: weight (D, D, H(p), H(q))
@group(1) @binding(0) var<uniform> finish_params: FinishParams;

@compute @workgroup_size(WIDE)
fn finish(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let row = linear_index(group, groups) * WIDE + lane.x;
  if (row >= finish_params.rows) { return; }
  let s = statistics[row];
  let t = teacher_statistics[row];
  let shares = vec2f(finish_params.student_share, finish_params.teacher_share);
  let divergence = dot(shares, final_sums[row]);
  let entropies = vec2f(log(s.y) - s.z / s.y, log(t.y) - t.z / t.y);
  metrics[row] = weight[row] * vec4f(divergence, divergence, entropies);
}

struct BackwardParams { rows: u32, chunk: u32, beta: f32, student_share: f32, inverse_temperature: f32, cap: f32 }

// dlogits[n, v] = weight[n] p_v (g_v - sum_u p_u g_u) / temperature with g = dD/dp, times
// 1 - (logits / cap)^2 where they are capped; in place
@group(0) @binding(0) var<storage, read_write> dlogits: array<vec4f>;      // [N, chunk/4], holds the logits
@group(1) @binding(0) var<uniform> backward_params: BackwardParams;

@compute @workgroup_size(WIDE)
fn backward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let chunk4 = backward_params.chunk / 4u;
  let at = linear_index(group, groups) * WIDE + lane.x;
  if (at >= backward_params.rows * chunk4) { return; }
  let row = at / chunk4;
  let s = statistics[row];
  let t = teacher_statistics[row];
  let z = dlogits[at];
  let log_p = z * backward_params.inverse_temperature - s.x - log(s.y);
  let log_q = teacher_logits[at] * backward_params.inverse_temperature - t.x - log(t.y);
  let p = exp(log_p);
  var d = p - exp(log_q);
  if (backward_params.beta != 0.0) {
    let ratios = log_ratios(log_q - log_p, backward_params.beta);
    d = backward_params.student_share * p * (ratios.student - final_sums[row].x);
  }
  if (backward_params.cap != 0.0) {
    let level = clamp(z / backward_params.cap, vec4f(-1.0), vec4f(1.0));
    d *= 1.0 - level * level;
  }
  dlogits[at] = weight[row] * d * backward_params.inverse_temperature;
}
