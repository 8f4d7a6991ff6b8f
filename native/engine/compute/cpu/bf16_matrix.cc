#include "compute/cpu/bf16_matrix.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "compute/convert.h"
#include "error.h"

namespace npr::compute {
namespace {

// Elements of each of a panel's rows that are gathered at a time: what is in hand stays in L1, and a source's cache
// lines are read whole.
constexpr uint32_t block = 64;
using Block = bf16[panel_columns][block];

// out [count] = elements [first, first + count) of a row.
void convert(HostRow row, uint32_t first, uint32_t count, const Kernels& kernels, bf16* out) {
  const auto* halves = static_cast<const uint16_t*>(row.data) + first;
  switch (row.dtype) {
    case DType::bf16:
      std::memcpy(out, halves, count * sizeof(bf16));
      return;
    case DType::f16: {
      float wide[block];
      for (uint32_t i = 0; i < count; ++i) wide[i] = half_to_float(halves[i]);
      return kernels.round(wide, count, out);
    }
    case DType::f32:
      return kernels.round(static_cast<const float*>(row.data) + first, count, out);
  }
}

// Without early exit, so that it vectorizes.
bool all_finite(const Block& rows) {
  int16_t largest = 0;
  for (const auto& row : rows) {
    for (const bf16 x : row) largest = std::max(largest, static_cast<int16_t>(x & 0x7fff));
  }
  return largest < 0x7f80;
}

// Writes elements [0, count) of all rows, pair by pair: [count / 2][panel_columns][2].
void interleave(const Block& rows, uint32_t count, bf16* out) {
  for (uint32_t i = 0; i < count; i += 2, out += 2 * panel_columns) {
    for (uint32_t row = 0; row < panel_columns; ++row) std::memcpy(out + 2 * row, &rows[row][i], 2 * sizeof(bf16));
  }
}

}  // namespace

Bf16Matrix::Bf16Matrix(std::span<const HostRows> parts, uint32_t k, const Kernels& kernels, ThreadPool& pool)
    : PackedMatrix(parts, k, kernels.bf16_linear, sizeof(bf16)) {
  fill(parts, kernels, pool);
}

void Bf16Matrix::fill(std::span<const HostRows> parts, const Kernels& kernels, ThreadPool& pool) {
  uint64_t given = 0;
  for (const HostRows& part : parts) given += part.n;
  ensure(given == n(), "as many rows as the matrix has");
  std::atomic<bool> finite{true};
  pool.run(panels(), [&](uint32_t panel, uint32_t) {
    const uint32_t begin = panel * panel_columns, count = std::min(panel_columns, n() - begin);
    HostRow rows[panel_columns];
    for (uint32_t i = 0; i < count; ++i) rows[i] = host_row(parts, begin + i, k());
    Block converted{};  // rows beyond the last stay zero
    for (uint32_t first = 0; first < k(); first += block) {
      const uint32_t width = std::min(block, k() - first);
      for (uint32_t i = 0; i < count; ++i) convert(rows[i], first, width, kernels, converted[i]);
      if (!all_finite(converted)) finite.store(false, std::memory_order_relaxed);
      interleave(converted, width, elements<bf16>() + index(begin, first));
    }
  });
  require_finite(finite);
}

void Bf16Matrix::unpack_row(uint32_t row, float* out) const {
  const bf16* from = elements<bf16>() + index(row, 0);
  for (uint32_t i = 0; i < k(); i += 2, from += 2 * panel_columns) {
    out[i] = to_float(from[0]);
    out[i + 1] = to_float(from[1]);
  }
}

}  // namespace npr::compute
