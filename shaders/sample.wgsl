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
  stop_a: u32,             // tokens that halt the slot
  stop_b: u32,
}

override LANES: u32 = 8;

struct Slot {
  token: u32,              // to be fed next
  position: u32,           // its position; 0xffffffff: the slot is idle
  end: u32,                // the position past the last one allowed
  stream: u32,             // names the random numbers, together with the seed
  seed: u32,
  inverse_temperature: f32, // 0: greedy
  top_k: u32,              // 0: off
  top_p: f32,              // 1: off
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;             // [R, V]
@group(0) @binding(1) var<storage, read> slots: array<u32>;              // [R] the slot of each row
@group(0) @binding(2) var<storage, read_write> state: array<Slot>;       // [S]
@group(0) @binding(3) var<storage, read_write> tokens: array<u32>;       // [R] the next step's input
@group(0) @binding(4) var<storage, read_write> positions: array<u32>;    // [R] the next step's positions
@group(0) @binding(5) var<storage, read_write> ring: array<vec2u>;       // [steps, R]: token (0xffffffff: none), logprob bits
@group(1) @binding(0) var<uniform> params: Params;

struct BeginParams { rows: u32 }
@group(0) @binding(2) var<storage, read> current_state: array<Slot>;     // [S], the state above
@group(1) @binding(0) var<uniform> begin_params: BeginParams;

// The first step's inputs, when rows have been given to other slots.
@compute @workgroup_size(LANES)
fn begin(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let row = group.x * LANES + lane.x;
  if (row >= begin_params.rows) { return; }
  let slot = current_state[slots[row]];
  tokens[row] = slot.token;
  positions[row] = slot.position;
}

struct StartParams { count: u32 }
@group(0) @binding(0) var<storage, read> starts: array<u32>;             // [N, 9]: a slot, its state
@group(1) @binding(0) var<uniform> start_params: StartParams;

// Gives slots a state of the host's.
@compute @workgroup_size(LANES)
fn start(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let i = group.x * LANES + lane.x;
  if (i >= start_params.count) { return; }
  let row = 9u * i;
  state[starts[row]] = Slot(
    starts[row + 1u], starts[row + 2u], starts[row + 3u], starts[row + 4u], starts[row + 5u],
    bitcast<f32>(starts[row + 6u]), starts[row + 7u], bitcast<f32>(starts[row + 8u]),
  );
}

const NONE = 0xffffffffu;

var<workgroup> lane_values: array<f32, LANES>;
var<workgroup> lane_tokens: array<u32, LANES>;
var<workgroup> shared_value: f32;
var<workgroup> shared_slot: Slot;

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

// The largest logit of a row, and the sum of exp((logit - largest) * scale).
fn top_logit(lane: u32, base: u32, vocabulary: u32) -> f32 {
  var top = -1e30;
  for (var v = lane; v < vocabulary; v += LANES) { top = max(top, logits[base + v]); }
  return max_lanes(lane, top);
}

fn total_mass(lane: u32, base: u32, vocabulary: u32, top: f32, scale: f32) -> f32 {
  var mass = 0.0;
  for (var v = lane; v < vocabulary; v += LANES) { mass += exp((logits[base + v] - top) * scale); }
  return sum_lanes(lane, mass);
}

// The log-probabilities of a greedy slot are those at temperature 1.
fn scale_of(slot: Slot) -> f32 {
  return select(slot.inverse_temperature, 1.0, slot.inverse_temperature == 0.0);
}

struct Candidate { value: f32, token: u32 }

// The lanes' candidate of the lowest value, of equal ones that of the lower token. For one lane, behind
// a barrier that follows the writing.
fn lowest_of_lanes() -> Candidate {
  var best = Candidate(lane_values[0], lane_tokens[0]);
  for (var n = 1u; n < LANES; n++) {
    let other = Candidate(lane_values[n], lane_tokens[n]);
    if (other.token != NONE && (best.token == NONE || other.value < best.value ||
      (other.value == best.value && other.token < best.token))) {
      best = other;
    }
  }
  return best;
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
  if (lane == 0u) { shared_slot = state[slot]; }
  let current = workgroupUniformLoad(&shared_slot);
  let greedy = current.inverse_temperature == 0.0;
  let scale = scale_of(current);

  let top = top_logit(lane, base, params.vocabulary);
  let mass = total_mass(lane, base, params.vocabulary, top, scale);

  // The largest threshold that keeps at least top_k logits.
  var threshold = -1e30;
  if (current.top_k > 0u && current.top_k < params.vocabulary) {
    var low = to_ordered(-1e30);
    var high = to_ordered(top);
    while (low < high) {
      let middle = low + (high - low) / 2u + 1u;
      let bound = from_ordered(middle);
      var count = 0.0;
      for (var v = lane; v < params.vocabulary; v += LANES) {
        count += select(0.0, 1.0, logits[base + v] >= bound);
      }
      if (sum_lanes(lane, count) >= f32(current.top_k)) { low = middle; } else { high = middle - 1u; }
    }
    threshold = from_ordered(low);
  }
  // The largest threshold that keeps at least the share top_p of what is left.
  if (current.top_p < 1.0) {
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
      if (sum_lanes(lane, share) >= current.top_p * kept) { low = middle; } else { high = middle - 1u; }
    }
    threshold = from_ordered(low);
  }

  // The race: smallest log(E) - z / temperature wins; ties go to the lower token.
  var best = 1e30;
  var winner = NONE;
  for (var v = lane; v < params.vocabulary; v += LANES) {
    let z = logits[base + v];
    var time = -z;
    if (!greedy) {
      let bits = random_bits(vec4u(current.seed, current.stream, current.position, v)).x;
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
    winner = lowest_of_lanes().token;
    let at = params.step * params.rows + row;
    if (current.position == NONE) {
      ring[at] = vec2u(NONE, 0u);
      positions[row] = NONE; // the row may have been another slot's
    } else {
      // NaN logits never win a comparison: there is no winner then, and the logprob says NaN.
      var logprob = 0x7fc00000u;
      if (winner != NONE) {
        logprob = bitcast<u32>((logits[base + winner] - top) * scale - log(mass));
      }
      ring[at] = vec2u(winner, logprob);
      var following = current;
      following.token = winner;
      following.position += 1u;
      let halted = winner == params.stop_a || winner == params.stop_b || winner == NONE ||
        following.position >= current.end;
      if (halted) { following.position = NONE; }
      state[slot] = following;
      tokens[row] = min(winner, params.vocabulary - 1u);
      positions[row] = following.position;
    }
  }
}

struct LikeliestParams {
  rows: u32,
  vocabulary: u32,
  step: u32,               // row of the table to write
  count: u32,              // tokens per row
}
@group(0) @binding(5) var<storage, read_write> likeliest: array<vec2u>;  // [steps, R, count]: token, logprob bits
@group(1) @binding(0) var<uniform> likeliest_params: LikeliestParams;

var<workgroup> shared_token: u32;

// The likeliest tokens of every row in falling order, of equal ones the lower first: each is the
// greatest behind the one before, so that `count` passes over the logits need no room to sort in.
@compute @workgroup_size(LANES)
fn rank(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
  let row = group.x;
  let lane = id.x;
  let vocabulary = likeliest_params.vocabulary;
  let base = row * vocabulary;
  if (lane == 0u) { shared_slot = current_state[slots[row]]; }
  let scale = scale_of(workgroupUniformLoad(&shared_slot));
  let top = top_logit(lane, base, vocabulary);
  let mass = total_mass(lane, base, vocabulary, top, scale);

  var last = 0.0;
  var last_token = NONE; // of the place before
  for (var place = 0u; place < likeliest_params.count; place++) {
    var best = -1e30;
    var winner = NONE;
    for (var v = lane; v < vocabulary; v += LANES) {
      let z = logits[base + v];
      let behind = last_token == NONE || z < last || (z == last && v > last_token);
      if (behind && (winner == NONE || z > best)) {
        best = z;
        winner = v;
      }
    }
    lane_values[lane] = -best;
    lane_tokens[lane] = winner;
    workgroupBarrier();
    if (lane == 0u) {
      let found = lowest_of_lanes();
      shared_value = -found.value;
      shared_token = found.token;
      let at = (likeliest_params.step * likeliest_params.rows + row) * likeliest_params.count + place;
      likeliest[at] = vec2u(found.token, bitcast<u32>((-found.value - top) * scale - log(mass)));
    }
    last = workgroupUniformLoad(&shared_value);
    last_token = workgroupUniformLoad(&shared_token);
  }
}
