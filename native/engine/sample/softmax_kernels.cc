#include "sample/softmax_kernels.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

namespace npr::sample {

namespace {

#define NPR_INLINE inline __attribute__((always_inline))

constexpr float infinity = std::numeric_limits<float>::infinity();

// A loop runs over 16 lanes on every machine, as 16 / width registers, so that sums add up in one order.
constexpr uint32_t lanes = 16;

template <int width>
struct Vector {
  typedef float Floats __attribute__((vector_size(4 * width)));
  typedef uint32_t Bits __attribute__((vector_size(4 * width)));
  static constexpr uint32_t registers = lanes / width;
};

// x -> exp(x) for x in [-87, 0], else 0. exp(x) = 2^n exp(r) with |r| <= ln(2) / 2; Taylor to r^7 leaves 5e-9. n is
// rounded by adding 1.5 * 2^23, whose low bits then hold it; ln(2) is split so that n * high is exact.
template <int width>
NPR_INLINE void exp_floats(typename Vector<width>::Floats& x) {
  using Floats = typename Vector<width>::Floats;
  using Bits = typename Vector<width>::Bits;
  constexpr float round = 0x1.8p23f;
  constexpr float log2e = 1.44269504f, ln2_high = 355.0f / 512, ln2_low = -2.12194440e-4f;
  const auto in_range = (x >= -87.0f) & (x <= 0.0f);
  const Floats shifted = x * log2e + round;
  const Floats n = shifted - round;
  const Floats r = (x - n * ln2_high) - n * ln2_low;
  Floats p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Bits power = ((Bits)shifted + 127) << 23;
  x = (Floats)((Bits)(p * (Floats)power) & (Bits)in_range);
}

// Calls f(register, lane values) for x[0, n) in steps of 16; what is missing at the end reads as minus infinity.
template <int width, class F>
NPR_INLINE void for_each_register(const float* x, uint32_t n, F&& f) {
  typename Vector<width>::Floats y;
  uint32_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (uint32_t r = 0; r < Vector<width>::registers; ++r) {
      std::memcpy(&y, x + i + r * width, sizeof y);
      f(r, y);
    }
  }
  if (i == n) return;
  float tail[lanes];
  for (uint32_t l = 0; l < lanes; ++l) tail[l] = i + l < n ? x[i + l] : -infinity;
  for (uint32_t r = 0; r < Vector<width>::registers; ++r) {
    std::memcpy(&y, tail + r * width, sizeof y);
    f(r, y);
  }
}

template <int width>
NPR_INLINE void group_max(const float* x, uint32_t n, float* out) {
  using Floats = typename Vector<width>::Floats;
  for (uint32_t begin = 0; begin < n; begin += group_entries) {
    Floats max[Vector<width>::registers];
    for (Floats& m : max) m = Floats{} - infinity;
    for_each_register<width>(
        x + begin, std::min(group_entries, n - begin), [&](uint32_t r, const Floats& y) __attribute__((always_inline)) {
          max[r] = (y > max[r]) & (y < infinity) ? y : max[r];
        });
    float lane[lanes];
    std::memcpy(lane, max, sizeof lane);
    for (uint32_t l = 1; l < lanes; ++l) lane[0] = lane[l] > lane[0] ? lane[l] : lane[0];
    out[begin / group_entries] = lane[0];
  }
}

template <class Registers>
NPR_INLINE double add_lanes(const Registers& sums) {
  float lane[lanes];
  static_assert(sizeof lane == sizeof sums);
  std::memcpy(lane, sums, sizeof lane);
  double total = 0;
  for (const float l : lane) total += static_cast<double>(l);
  return total;
}

template <int width>
NPR_INLINE double sum_exp(const float* x, uint32_t n, float max, float scale) {
  using Floats = typename Vector<width>::Floats;
  Floats sum[Vector<width>::registers] = {};
  for_each_register<width>(
      x, n, [&](uint32_t r, const Floats& y) __attribute__((always_inline)) {
        Floats e = (y - max) * scale;
        exp_floats<width>(e);
        sum[r] += e;
      });
  return add_lanes(sum);
}

template <int width>
NPR_INLINE void exp_each(const float* x, uint32_t n, float max, float scale, float* out) {
  using Floats = typename Vector<width>::Floats;
  for_each_register<width>(
      x, n, [&](uint32_t, const Floats& y) __attribute__((always_inline)) {
        Floats e = (y - max) * scale;
        exp_floats<width>(e);
        std::memcpy(out, &e, sizeof e);
        out += width;
      });
}

template <int width>
NPR_INLINE double exp_distances(const float* x, uint32_t n, float max, float scale, float* out) {
  using Floats = typename Vector<width>::Floats;
  using Bits = typename Vector<width>::Bits;
  Floats sum[Vector<width>::registers] = {};
  for_each_register<width>(
      x, n, [&](uint32_t r, const Floats& y) __attribute__((always_inline)) {
        const Floats distance = y - max;
        Floats e = distance * scale;
        exp_floats<width>(e);
        sum[r] += (Floats)((Bits)(e * distance) & (Bits)(e > 0.0f));  // 0 times infinity counts as 0
        std::memcpy(out, &e, sizeof e);
        out += width;
      });
  return add_lanes(sum);
}

// The same source once more for each instruction set; without contraction and reassociation its bits are the same.
#define NPR_KERNELS(name, width, attributes)                                                                \
  attributes void group_max_##name(const float* x, uint32_t n, float* out) { group_max<width>(x, n, out); } \
  attributes double sum_exp_##name(const float* x, uint32_t n, float max, float scale) {                    \
    return sum_exp<width>(x, n, max, scale);                                                                \
  }                                                                                                         \
  attributes void exp_##name(const float* x, uint32_t n, float max, float scale, float* out) {              \
    exp_each<width>(x, n, max, scale, out);                                                                 \
  }                                                                                                         \
  attributes double exp_distances_##name(const float* x, uint32_t n, float max, float scale, float* out) {  \
    return exp_distances<width>(x, n, max, scale, out);                                                     \
  }                                                                                                         \
  constexpr Kernels kernels_##name = {#name, group_max_##name, sum_exp_##name, exp_##name, exp_distances_##name};

NPR_KERNELS(plain, 4, )
#if defined(__x86_64__)
NPR_KERNELS(avx2, 8, __attribute__((target("avx2"))))
#endif

}  // namespace

std::span<const Kernels> available_kernels() {
  static const std::vector<Kernels> all = [] {
    std::vector<Kernels> found = {kernels_plain};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) found.push_back(kernels_avx2);
#endif
    return found;
  }();
  return all;
}

float exp_nonpositive(float x) {
  Vector<4>::Floats y = Vector<4>::Floats{} + x;
  exp_floats<4>(y);
  return y[0];
}

}  // namespace npr::sample
