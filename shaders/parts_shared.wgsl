// Joined in front of kernels in which PARTS neighbouring lanes share a row. Here: by registers.

// The sum over those lanes, in each of them.
fn sum_over_parts(own: vec4f) -> vec4f {
  var sum = own;
  for (var step = 1u; step < PARTS; step *= 2u) { sum += subgroupShuffleXor(sum, step); }
  return sum;
}
