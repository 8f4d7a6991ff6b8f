#include "compute/cpu/int8_matrix.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <vector>

#include "compute/convert.h"

namespace npr::compute {
namespace {

void widen(HostRow row, std::span<float> out) {
  const auto* halves = static_cast<const uint16_t*>(row.data);
  switch (row.dtype) {
    case DType::bf16:
      std::transform(halves, halves + out.size(), out.begin(), to_float);
      return;
    case DType::f16:
      std::transform(halves, halves + out.size(), out.begin(), half_to_float);
      return;
    case DType::f32:
      std::copy_n(static_cast<const float*>(row.data), out.size(), out.begin());
  }
}

}  // namespace

Int8Matrix::Int8Matrix(std::span<const HostRows> parts, uint32_t k, const Kernels& kernels, ThreadPool& pool)
    : PackedMatrix(parts, k, kernels.int8_linear, 1),
      bias_(kernels.int8_bias),
      scales_(size_t{n()} * sizeof(float), "weights") {
  std::vector<std::vector<float>> rows(pool.size(), std::vector<float>(k));
  std::atomic<bool> finite{true};
  pool.run(panels(), [&](uint32_t panel, uint32_t thread) {
    const std::span<float> weights(rows[thread]);
    for (uint32_t row = panel * panel_columns; row < std::min((panel + 1) * panel_columns, n()); ++row) {
      widen(host_row(parts, row, k), weights);
      int32_t bits = 0;  // of the largest magnitude; a NaN's are the largest of all
      for (const float w : weights) bits = std::max(bits, std::bit_cast<int32_t>(std::abs(w)));
      if (bits >= 0x7f7f8000) finite.store(false, std::memory_order_relaxed);
      auto max = std::bit_cast<float>(bits);
      if (max < 0x1p-100f) max = 0;  // as good as zeros, and 127 / max might overflow
      const float inverse = max > 0 ? 127 / max : 0;
      scales_.as<float>()[row] = max / 127;
      for (uint32_t i = 0; i < k; ++i) {
        const auto value = static_cast<int32_t>(std::nearbyint(weights[i] * inverse));
        elements<uint8_t>()[index(row, i)] = static_cast<uint8_t>(value + bias_);
      }
    }
  });
  require_finite(finite);
}

void Int8Matrix::unpack_row(uint32_t row, float* out) const {
  const float scale = scales_.as<float>()[row];
  for (uint32_t i = 0; i < k(); ++i) {
    const uint8_t byte = elements<uint8_t>()[index(row, i)];
    // With a bias bytes are unsigned, without one they are signed.
    out[i] = static_cast<float>(bias_ ? byte - bias_ : static_cast<int8_t>(byte)) * scale;
  }
}

}  // namespace npr::compute
