// Chooses the next token of every active slot on the GPU and advances the slot, so that many decode
// steps can run before the host looks. Slots that are not active have no row at all.
//
// Temperature sampling by the exponential race: argmin E_v / p_v with E ~ Exp(1) draws v with
// probability p_v, with noise keyed by (seed, stream, position, token). top-k and top-p keep the
// logits above a threshold that is found by bisection over their bit patterns; nothing is sorted.

struct Params {
  rows: u32,
  vocabulary: u32,
  step: u32,               // row of the ring to write
  seed: u32,
  inverse_temperature: f32,
  greedy: u32,
  top_k: u32,              // 0: off
  top_p: f32,              // 1: off
  stop_a: u32,             // tokens that halt the slot
  stop_b: u32,
}

override LANES: u32 = 8;

@group(0) @binding(0) var<storage, read> logits: array<f32>;             // [R, V]
@group(0) @binding(1) var<storage, read> slots: array<u32>;              // [R] the slot of each row
// [S, 4]: the token to be fed next, its position, the position past the last one allowed, the stream.
// A slot whose position is 0xffffffff is idle.
@group(0) @binding(2) var<storage, read_write> state: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> tokens: array<u32>;       // [R] the next step's input
@group(0) @binding(4) var<storage, read_write> positions: array<u32>;    // [R] the next step's positions
@group(0) @binding(5) var<storage, read_write> ring: array<vec2u>;       // [steps, R]: token (0xffffffff: none), logprob bits
@group(1) @binding(0) var<uniform> params: Params;

struct BeginParams { rows: u32 }
@group(0) @binding(2) var<storage, read> current_state: array<vec4u>;    // [S, 4], the state above
@group(1) @binding(0) var<uniform> begin_params: BeginParams;

// The first step's inputs, when rows have been given to other slots.
@compute @workgroup_size(LANES)
fn begin(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let row = group.x * LANES + lane.x;
  if (row >= begin_params.rows) { return; }
  let slot = current_state[slots[row]];
  tokens[row] = slot.x;
  positions[row] = slot.y;
}

struct StartParams { count: u32 }
@group(0) @binding(0) var<storage, read> starts: array<u32>;             // [N, 5]: a slot, its state
@group(1) @binding(0) var<uniform> start_params: StartParams;

// Gives slots a state of the host's.
@compute @workgroup_size(LANES)
fn start(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let i = group.x * LANES + lane.x;
  if (i >= start_params.count) { return; }
  let row = 5u * i;
  state[starts[row]] = vec4u(starts[row + 1u], starts[row + 2u], starts[row + 3u], starts[row + 4u]);
}

const NONE = 0xffffffffu;

var<workgroup> lane_values: array<f32, LANES>;
var<workgroup> lane_tokens: array<u32, LANES>;
var<workgroup> shared_value: f32;

fn sum_lanes(lane: u32, value: f32) -> f32 {
  lane_values[lane] = value;
  workgroupBarrier();
  if (lane == 0u) {
    var total = 0.0;
    for (var n = 0u; n < LANES; n++) { total += lane_values[n]; }
    shared_value = total;
  }
  // A uniform load, so that loops around these barriers are provably uniform.
  return workgroupUniformLoad(&shared_value);
}

fn max_lanes(lane: u32, value: f32) -> f32 {
  lane_values[lane] = value;
  workgroupBarrier();
  if (lane == 0u) {
    var top = lane_values[0];
    for (var n = 1u; n < LANES; n++) { top = max(top, lane_values[n]); }
    shared_value = top;
  }
  return workgroupUniformLoad(&shared_value);
}

// Order-preserving map between floats and unsigned integers.
fn to_ordered(v: f32) -> u32 {
  let bits = bitcast<u32>(v);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn from_ordered(v: u32) -> f32 {
  return bitcast<f32>(select(~v, v & 0x7fffffffu, (v & 0x80000000u) != 0u));
}

@compute @workgroup_size(LANES)
fn next(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
  let row = group.x;
  let slot = slots[row];
  let lane = id.x;
  let base = row * params.vocabulary;
  let current = state[slot];
  let scale = params.inverse_temperature;

  var top = -1e30;
  for (var v = lane; v < params.vocabulary; v += LANES) { top = max(top, logits[base + v]); }
  top = max_lanes(lane, top);
  var mass = 0.0;
  for (var v = lane; v < params.vocabulary; v += LANES) {
    mass += exp((logits[base + v] - top) * scale);
  }
  mass = sum_lanes(lane, mass);

  // The largest threshold that keeps at least top_k logits.
  var threshold = -1e30;
  if (params.top_k > 0u && params.top_k < params.vocabulary) {
    var low = to_ordered(-1e30);
    var high = to_ordered(top);
    while (low < high) {
      let middle = low + (high - low) / 2u + 1u;
      let bound = from_ordered(middle);
      var count = 0.0;
      for (var v = lane; v < params.vocabulary; v += LANES) {
        count += select(0.0, 1.0, logits[base + v] >= bound);
      }
      if (sum_lanes(lane, count) >= f32(params.top_k)) { low = middle; } else { high = middle - 1u; }
    }
    threshold = from_ordered(low);
  }
  // The largest threshold that keeps at least the share top_p of what is left.
  if (params.top_p < 1.0) {
    var kept = 0.0;
    for (var v = lane; v < params.vocabulary; v += LANES) {
      let z = logits[base + v];
      kept += select(0.0, exp((z - top) * scale), z >= threshold);
    }
    kept = sum_lanes(lane, kept);
    var low = to_ordered(threshold);
    var high = to_ordered(top);
    while (low < high) {
      let middle = low + (high - low) / 2u + 1u;
      let bound = from_ordered(middle);
      var share = 0.0;
      for (var v = lane; v < params.vocabulary; v += LANES) {
        let z = logits[base + v];
        share += select(0.0, exp((z - top) * scale), z >= bound);
      }
      if (sum_lanes(lane, share) >= params.top_p * kept) { low = middle; } else { high = middle - 1u; }
    }
    threshold = from_ordered(low);
  }

  // The race: smallest log(E) - z / temperature wins; ties go to the lower token.
  var best = 1e30;
  var winner = NONE;
  for (var v = lane; v < params.vocabulary; v += LANES) {
    let z = logits[base + v];
    var time = -z;
    if (params.greedy == 0u) {
      let bits = random_bits(vec4u(params.seed, current.w, current.y, v)).x;
      time = log(exponential(bits)) - (z - top) * scale;
    }
    if (z >= threshold && (time < best || winner == NONE)) {
      best = time;
      winner = v;
    }
  }
  lane_values[lane] = best;
  lane_tokens[lane] = winner;
  workgroupBarrier();
  if (lane == 0u) {
    for (var n = 1u; n < LANES; n++) {
      let candidate = lane_tokens[n];
      if (candidate != NONE && (winner == NONE || lane_values[n] < best ||
        (lane_values[n] == best && candidate < winner))) {
        best = lane_values[n];
        winner = candidate;
      }
    }
    let at = params.step * params.rows + row;
    if (current.y == NONE) {
      ring[at] = vec2u(NONE, 0u);
    } else {
      // NaN logits never win a comparison: there is no winner then, and the logprob says NaN.
      var logprob = 0x7fc00000u;
      if (winner != NONE) {
        logprob = bitcast<u32>((logits[base + winner] - top) * scale - log(mass));
      }
      ring[at] = vec2u(winner, logprob);
      var following = vec4u(winner, current.y + 1u, current.z, current.w);
      let halted = winner == params.stop_a || winner == params.stop_b || winner == NONE ||
        following.y >= current.z;
      if (halted) { following.y = NONE; }
      state[slot] = following;
      tokens[row] = min(winner, params.vocabulary - 1u);
      positions[row] = following.y;
    }
  }
}
