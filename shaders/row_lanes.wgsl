// Joined in front of kernels that go through the rows of a matrix. ROW_LANES neighbouring lanes of a
// workgroup share a row, and each takes every ROW_LANES-th vec4 of it.

override LANES: u32 = 8;
override ROW_LANES: u32 = 1;

var<workgroup> shares: array<f32, LANES>;

// The row of a lane, and which part of it is the lane's.
struct RowPart { row: u32, part: u32 }

fn row_part(group: vec3u, groups: vec3u, lane: u32) -> RowPart {
  return RowPart(linear_index(group, groups) * (LANES / ROW_LANES) + lane / ROW_LANES, lane % ROW_LANES);
}

// The sum over the lanes of a row, the same bits in each of them. Every lane of the workgroup must
// take part.
fn sum_over_row(lane: u32, own: f32) -> f32 {
  if (ROW_LANES == 1u) { return own; }
  shares[lane] = own;
  workgroupBarrier();
  for (var half = ROW_LANES / 2u; half > 0u; half /= 2u) {
    if (lane % ROW_LANES < half) { shares[lane] += shares[lane + half]; }
    workgroupBarrier();
  }
  let total = shares[lane - lane % ROW_LANES];
  workgroupBarrier();
  return total;
}

// The same for the greatest.
fn max_over_row(lane: u32, own: f32) -> f32 {
  if (ROW_LANES == 1u) { return own; }
  shares[lane] = own;
  workgroupBarrier();
  for (var half = ROW_LANES / 2u; half > 0u; half /= 2u) {
    if (lane % ROW_LANES < half) { shares[lane] = max(shares[lane], shares[lane + half]); }
    workgroupBarrier();
  }
  let top = shares[lane - lane % ROW_LANES];
  workgroupBarrier();
  return top;
}
