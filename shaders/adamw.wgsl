// AdamW (Loshchilov & Hutter 2019): decoupled weight decay, bias corrections from the host.

struct Params {
  count: u32,
  learning_rate: f32,
  beta1: f32,
  beta2: f32,
  epsilon: f32,
  weight_decay: f32,
  correction1: f32, // 1 - beta1^step
  correction2: f32, // 1 - beta2^step
}

override LANES: u32 = 256;

@group(0) @binding(0) var<storage, read_write> weights: array<vec4f>;
@group(0) @binding(1) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> first_moment: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> second_moment: array<vec4f>;
@group(0) @binding(4) var<storage, read> clip: array<f32>;               // [norm, scale, finite]
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn step(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let at = linear_index(group, groups) * LANES + lane.x;
  // A gradient that is not finite must not touch the weights: the host stops at them as they are.
  if (at >= params.count / 4u || clip[2] == 0.0) { return; }
  let g = gradient[at] * clip[1];
  let m = mix(g, first_moment[at], params.beta1);
  let v = mix(g * g, second_moment[at], params.beta2);
  first_moment[at] = m;
  second_moment[at] = v;
  let decayed = weights[at] * (1.0 - params.learning_rate * params.weight_decay);
  let denominator = sqrt(v / params.correction2) + params.epsilon;
  weights[at] = decayed - params.learning_rate * (m / params.correction1) / denominator;
}
