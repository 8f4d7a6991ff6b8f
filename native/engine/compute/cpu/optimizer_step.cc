#include "compute/cpu/optimizer_step.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace npr::compute {
namespace {

constexpr size_t chunk = 1 << 14;  // numbers a task: the four arrays of a step fit a core's cache

uint32_t chunks(size_t size) { return static_cast<uint32_t>((size + chunk - 1) / chunk); }

// task(first, count) for every chunk of `size` numbers.
template <class Task>
void each_chunk(ThreadPool& threads, size_t size, const Task& task) {
  threads.run(chunks(size), [&](uint32_t index, uint32_t) {
    const size_t first = index * chunk;
    task(first, std::min(chunk, size - first));
  });
}

// Without aliasing and errno (CMakeLists.txt), the loop vectorizes for any machine; every operation rounds once, so
// that all machines agree.
void update(const AdamWStep& s, size_t n, float* __restrict master, float* __restrict gradient, float* __restrict first,
            float* __restrict second) {
  for (size_t i = 0; i < n; ++i) {
    const float g = gradient[i] * s.gradient_scale;
    const float m = first[i] + s.weight1 * (g - first[i]);
    const float v = s.beta2 * second[i] + s.weight2 * g * g;
    const float denominator = std::sqrt(v) / s.root_of_correction2 + s.epsilon;
    master[i] = master[i] * s.keep - s.step_size * m / denominator;
    first[i] = m;
    second[i] = v;
    gradient[i] = 0;
  }
}

double sum(const float* x, size_t n) {
  double sums[8] = {};
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (size_t lane = 0; lane < 8; ++lane) sums[lane] += double{x[i + lane]} * x[i + lane];
  }
  for (size_t lane = 0; i < n; ++i, ++lane) sums[lane] += double{x[i]} * x[i];
  double total = 0;
  for (const double each : sums) total += each;
  return total;
}

}  // namespace

void zero(ThreadPool& threads, float* x, size_t count) {
  each_chunk(threads, count, [&](size_t first, size_t some) { std::fill_n(x + first, some, 0.0f); });
}

double sum_of_squares(ThreadPool& threads, const float* x, size_t count) {
  std::vector<double> sums(chunks(count));
  each_chunk(threads, count, [&](size_t first, size_t some) { sums[first / chunk] = sum(x + first, some); });
  double total = 0;
  for (const double each : sums) total += each;
  return total;
}

void adamw(ThreadPool& threads, const AdamWStep& step, size_t count, float* masters, float* gradients,
           float* first_moments, float* second_moments) {
  each_chunk(threads, count, [&](size_t at, size_t some) {
    update(step, some, masters + at, gradients + at, first_moments + at, second_moments + at);
  });
}

}  // namespace npr::compute
