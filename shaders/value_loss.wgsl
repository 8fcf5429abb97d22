// The clipped value loss of each sampled token (Schulman et al. 2017, as PPO's code has it) with
// dL/dV and diagnostics. weight = mask / normaliser, so that sums are means.
//
// L = 0.5 max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2)

struct Params { rows: u32, clip: f32, coefficient: f32 }

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read> value: array<vec4f>;            // [N, 4], V in column 0
@group(0) @binding(1) var<storage, read> old_value: array<f32>;          // [N] before the first update
@group(0) @binding(2) var<storage, read> returns: array<f32>;            // [N]
@group(0) @binding(3) var<storage, read> weight: array<f32>;             // [N]
@group(0) @binding(4) var<storage, read_write> dvalue: array<vec4f>;     // [N, 4], times the coefficient
// [N]: (loss without the coefficient, clipped, V, R), each multiplied by the weight
@group(0) @binding(5) var<storage, read_write> metrics: array<vec4f>;
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn clipped(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let n = linear_index(group, groups) * LANES + lane.x;
  if (n >= params.rows) { return; }
  let v = value[n].x;
  let old = old_value[n];
  let r = returns[n];
  let w = weight[n];
  let error = v - r;
  let bounded = clamp(v, old - params.clip, old + params.clip) - r;
  let free_loss = error * error;
  let bounded_loss = bounded * bounded;
  // The bounded loss is the larger one only where the bound holds V, and then V has no part in it.
  let held = bounded_loss > free_loss;
  var loss = 0.5 * max(free_loss, bounded_loss);
  var gradient = select(error, 0.0, held);
  // max and clamp swallow NaN; the loss must not.
  let sum = error + old;
  if (!is_finite(sum)) { loss = sum; gradient = sum; }
  dvalue[n] = vec4f(params.coefficient * w * gradient, 0.0, 0.0, 0.0);
  metrics[n] = w * vec4f(loss, select(0.0, 1.0, held), v, r);
}
