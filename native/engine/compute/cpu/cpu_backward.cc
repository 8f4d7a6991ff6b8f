#include "compute/cpu/cpu_backward.h"

#include <algorithm>

namespace npr::compute {
namespace {

constexpr uint32_t block_rows = 64;      // rows whose sums one thread makes
constexpr uint32_t block_columns = 256;  // columns that one thread adds

uint32_t divide_up(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

}  // namespace

// totals: where parts of n / totals.size() sums each go; null where they are not wanted.
template <class Task>
void CpuBackward::sum_rows(uint32_t rows, uint32_t n, std::span<float* const> totals, const Task& task) {
  const uint32_t blocks = divide_up(rows, block_rows);
  sums_.assign(size_t{blocks} * n, 0.0f);
  threads_.run(blocks, [&](uint32_t block, uint32_t) {
    const uint32_t end = std::min(rows, (block + 1) * block_rows);
    for (uint32_t row = block * block_rows; row < end; ++row) task(row, sums_.data() + size_t{block} * n);
  });
  const auto part = static_cast<uint32_t>(n / totals.size());
  for (size_t t = 0; t < totals.size(); ++t) {
    if (!totals[t]) continue;
    for (uint32_t block = 0; block < blocks; ++block) {
      kernels_.add(sums_.data() + size_t{block} * n + t * part, part, totals[t]);
    }
  }
}

void CpuBackward::rms_norm(const float* g, const float* x, const float* weight, uint32_t rows, uint32_t n, float eps,
                           float* dx, float* dw) {
  float* const totals[] = {dw};
  sum_rows(rows, n, totals, [&](uint32_t row, float* sums) {
    const size_t at = size_t{row} * n;
    kernels_.rms_norm_backward(g + at, x + at, weight, n, eps, dx + at, sums);
  });
}

void CpuBackward::swiglu(const float* g, const float* gate_up, uint32_t rows, uint32_t n, float* d_gate_up) {
  threads_.run(rows, [&](uint32_t row, uint32_t) {
    const float* gate = gate_up + size_t{row} * 2 * n;
    float* d_gate = d_gate_up + size_t{row} * 2 * n;
    kernels_.swiglu_backward(g + size_t{row} * n, gate, gate + n, n, d_gate, d_gate + n);
  });
}

void CpuBackward::rotate(const float* qkv, const AttentionWeights& w, float eps, float* d_rotated, float* dq_norm,
                         float* dk_norm) {
  const uint32_t head_dim = pool_.shape().head_dim, kv_heads = pool_.shape().kv_heads;
  const size_t width = size_t{q_heads_ + 2 * kv_heads} * head_dim;
  float* const totals[] = {dq_norm, dk_norm};
  sum_rows(batch_.rows(), 2 * head_dim, totals, [&](uint32_t row, float* sums) {
    const float* x = qkv + row * width;
    float* g = d_rotated + row * width;
    for (uint32_t h = 0; h < q_heads_ + kv_heads; ++h, x += head_dim, g += head_dim) {
      const bool query = h < q_heads_;
      kernels_.rotate_backward(g, x, query ? w.q_norm : w.k_norm, head_dim, eps, batch_.rotation(row, head_dim), g,
                               query ? sums : sums + head_dim);
    }
  });
}

void CpuBackward::scatter_add(const float* g, std::span<const uint32_t> pick, uint32_t n, float* dx) {
  threads_.run(divide_up(n, block_columns), [&](uint32_t block, uint32_t) {
    const uint32_t first = block * block_columns, end = std::min(n, first + block_columns);
    for (size_t i = 0; i < pick.size(); ++i) {
      kernels_.add(g + i * n + first, end - first, dx + size_t{pick[i]} * n + first);
    }
  });
}

}  // namespace npr::compute
