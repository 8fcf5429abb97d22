// From logits to log-probabilities of the targets and entropies, one vocabulary chunk at a time,
// and back. Only [N, chunk] logits exist at any moment.

struct Params { rows: u32, chunk: u32, offset: u32, first: u32, inverse_temperature: f32 }

override WIDE: u32 = 256;

@group(0) @binding(0) var<storage, read> logits: array<vec4f>;           // [N, chunk/4]
@group(0) @binding(1) var<storage, read> targets: array<u32>;            // [N]
@group(0) @binding(2) var<storage, read_write> statistics: array<vec4f>; // [N]: max, sum e^(z-max), sum (z-max) e^(z-max), target's z-max
@group(1) @binding(0) var<uniform> params: Params;

// Folds one chunk into the running statistics of each row; row_lanes.wgsl says which lanes go
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
  var tops = vec4f(-1e30);
  for (var i = at.part; i < chunk4; i += ROW_LANES) { tops = max(tops, logits[base + i]); }
  let top = max_over_row(lane.x, max(max(tops.x, tops.y), max(tops.z, tops.w)));
  var old = vec4f(-1e30, 0.0, 0.0, 0.0);
  if (params.first == 0u && real) { old = statistics[at.row]; }
  let highest = max(old.x, params.inverse_temperature * top);
  var masses = vec4f();
  var moments = vec4f();
  for (var i = at.part; i < chunk4; i += ROW_LANES) {
    let z = logits[base + i] * params.inverse_temperature;
    let e = exp(z - highest);
    masses += e;
    moments = fma(z - highest, e, moments);
  }
  let mass = sum_over_row(lane.x, dot(masses, vec4f(1.0)));
  let moment = sum_over_row(lane.x, dot(moments, vec4f(1.0)));
  if (!real || at.part != 0u) { return; }
  let risen = old.x - highest;
  let decay = exp(risen);
  var found = old.w + risen;
  let target_column = targets[at.row] - params.offset;
  if (target_column < params.chunk) {
    found = logits[base + target_column / 4u][target_column % 4u] * params.inverse_temperature - highest;
  }
  statistics[at.row] = vec4f(
    highest,
    fma(old.y, decay, mass),
    fma(fma(risen, old.y, old.z), decay, moment),
    found,
  );
}

struct LimitParams { rows: u32, chunk: u32, columns: u32, cap: f32 }

@group(0) @binding(0) var<storage, read_write> limited: array<vec4f>;    // [N, chunk/4], the logits
@group(1) @binding(0) var<uniform> limit_params: LimitParams;

// In place: logits become cap tanh(logits / cap) where cap is not 0, and those of the columns behind
// the end of the vocabulary so low that they have no part in anything.
@compute @workgroup_size(WIDE)
fn limit(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let chunk4 = limit_params.chunk / 4u;
  let at = linear_index(group, groups) * WIDE + lane.x;
  if (at >= limit_params.rows * chunk4) { return; }
  var z = limited[at];
  if (limit_params.cap != 0.0) { z = limit_params.cap * tanh(z / limit_params.cap); }
  let column = (at % chunk4) * 4u;
  let real = vec4u(column, column + 1u, column + 2u, column + 3u) < vec4u(limit_params.columns);
  limited[at] = select(vec4f(-1e30), z, real);
}

struct FinishParams { rows: u32 }
struct BackwardParams { rows: u32, chunk: u32, offset: u32, with_entropy: u32, inverse_temperature: f32, cap: f32 }

@group(0) @binding(3) var<storage, read> final_statistics: array<vec4f>; // [N]
@group(0) @binding(4) var<storage, read_write> logprob: array<f32>;      // [N] log p(target)
@group(0) @binding(5) var<storage, read_write> entropy: array<f32>;      // [N] nats
@group(1) @binding(0) var<uniform> finish_params: FinishParams;

@compute @workgroup_size(WIDE)
fn finish(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let row = linear_index(group, groups) * WIDE + lane.x;
  if (row >= finish_params.rows) { return; }
  let s = final_statistics[row];
  // Both are small where the model is sure; taken from the maximum they keep their digits.
  let log_sum = log(s.y);
  logprob[row] = s.w - log_sum;
  entropy[row] = log_sum - s.z / s.y;
}

// dlogits[n, v] = (dlogprob[n] (1[v = target] - p) - dentropy[n] p (log p + H)) / temperature, times
// 1 - (logits / cap)^2 where they are capped; in place
@group(0) @binding(0) var<storage, read_write> dlogits: array<vec4f>;    // [N, chunk/4], holds the logits
@group(0) @binding(4) var<storage, read> dlogprob: array<f32>;           // [N]
@group(0) @binding(5) var<storage, read> dentropy: array<f32>;           // [N]
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
  let s = final_statistics[row];
  let log_sum = log(s.y);
  let log_p = dlogits[at] * backward_params.inverse_temperature - s.x - log_sum;
  let p = exp(log_p);
  let column = (at % chunk4) * 4u + backward_params.offset;
  let hit = vec4u(column, column + 1u, column + 2u, column + 3u) == vec4u(targets[row]);
  var d = dlogprob[row] * (select(vec4f(), vec4f(1.0), hit) - p);
  if (backward_params.with_entropy != 0u) { d -= dentropy[row] * p * (log_p + (log_sum - s.z / s.y)); }
  if (backward_params.cap != 0.0) {
    let level = clamp(dlogits[at] / backward_params.cap, vec4f(-1.0), vec4f(1.0));
    d *= 1.0 - level * level;
  }
  dlogits[at] = d * backward_params.inverse_temperature;
}
