#include "compute/cpu/low_rank.h"

#include <algorithm>
#include <vector>

namespace npr::compute {
namespace {

constexpr uint32_t task_rows = 16;
constexpr uint32_t task_columns = 256;

uint32_t tasks(uint32_t size, uint32_t each) { return (size + each - 1) / each; }

// y [n] += factor x [n]
void add_scaled(const float* __restrict x, float factor, uint32_t n, float* __restrict y) {
  for (uint32_t i = 0; i < n; ++i) y[i] += factor * x[i];
}

// In eight interleaved sums, so that it vectorizes as it is written.
float dot(const float* __restrict x, const float* __restrict y, uint32_t n) {
  float sums[8] = {};
  uint32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (uint32_t lane = 0; lane < 8; ++lane) sums[lane] += x[i + lane] * y[i + lane];
  }
  for (uint32_t lane = 0; i < n; ++i, ++lane) sums[lane] += x[i] * y[i];
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

}  // namespace

void add_low_rank(ThreadPool& threads, const LowRank& f, float* w) {
  threads.run(tasks(f.rows, task_rows), [&](uint32_t task, uint32_t) {
    std::vector<float> sum(f.columns);
    const uint32_t end = std::min(f.rows, (task + 1) * task_rows);
    for (uint32_t row = task * task_rows; row < end; ++row) {
      std::fill(sum.begin(), sum.end(), 0.0f);
      for (uint32_t r = 0; r < f.rank; ++r)
        add_scaled(f.a + size_t{r} * f.columns, f.b[size_t{row} * f.rank + r], f.columns, sum.data());
      add_scaled(sum.data(), f.scale, f.columns, w + size_t{row} * f.columns);
    }
  });
}

void low_rank_gradients(ThreadPool& threads, const LowRank& f, const float* g, float* da, float* db) {
  threads.run(tasks(f.columns, task_columns), [&](uint32_t task, uint32_t) {
    const uint32_t first = task * task_columns, count = std::min(task_columns, f.columns - first);
    for (uint32_t row = 0; row < f.rows; ++row) {
      for (uint32_t r = 0; r < f.rank; ++r)
        add_scaled(g + size_t{row} * f.columns + first, f.scale * f.b[size_t{row} * f.rank + r], count,
                   da + size_t{r} * f.columns + first);
    }
  });
  threads.run(tasks(f.rows, task_rows), [&](uint32_t task, uint32_t) {
    const uint32_t end = std::min(f.rows, (task + 1) * task_rows);
    for (uint32_t row = task * task_rows; row < end; ++row) {
      for (uint32_t r = 0; r < f.rank; ++r)
        db[size_t{row} * f.rank + r] +=
            f.scale * dot(g + size_t{row} * f.columns, f.a + size_t{r} * f.columns, f.columns);
    }
  });
}

}  // namespace npr::compute
