// The loops over a vocabulary, built for several instruction sets with the same bits on each.
#pragma once
#include <cstdint>
#include <span>

namespace npr::sample {

// Logits are reduced in chunks counted from token 0; each is summed by itself and the sums are merged in order.
constexpr uint32_t chunk_entries = 4096;
// Every group of a chunk has its maximum recorded, which finds the largest few entries without another pass.
constexpr uint32_t group_entries = 128;

// Entries that are not finite count as minus infinity throughout. n: at most chunk_entries.
struct Kernels {
  const char* name;
  // out [ceil(n / group_entries)] = each group's maximum, -inf for a group without a finite entry.
  void (*group_max)(const float* x, uint32_t n, float* out);
  // Sum of exp((x - max) * scale), for max >= every finite x.
  double (*sum_exp)(const float* x, uint32_t n, float max, float scale);
  // out [n rounded up to 16] = exp((x - max) * scale); exactly 1 at the maximum, 0 below e^-87.
  void (*exp)(const float* x, uint32_t n, float max, float scale, float* out);
  // The same, and returns the sum of out * (x - max) over the entries that are not 0.
  double (*exp_distances)(const float* x, uint32_t n, float max, float scale, float* out);
};

// Those that this machine can run, the fastest last.
std::span<const Kernels> available_kernels();
inline const Kernels& kernels() {
  static const Kernels& fastest = available_kernels().back();
  return fastest;
}

// exp(x) for x in [-87, 0] within one unit in the last place, 0 for every other x: what each lane above computes.
float exp_nonpositive(float x);

}  // namespace npr::sample
