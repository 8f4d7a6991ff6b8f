#include "compute/cpu/bf16_matrix.h"

#include <algorithm>

#include "compute/convert.h"

namespace npr::compute {
namespace {

// Writes `count` elements of one row, from `first` on, as pairs `stride` elements apart.
template <class T, class Convert>
void pack_elements(const void* row, uint32_t first, uint32_t count, size_t stride, bf16* out, Convert convert) {
  const T* from = static_cast<const T*>(row) + first;
  for (uint32_t i = 0; i < count; i += 2, out += stride) {
    out[0] = convert(from[i]);
    out[1] = convert(from[i + 1]);
  }
}

void pack_row(HostRow row, uint32_t first, uint32_t count, size_t stride, bf16* out) {
  switch (row.dtype) {
    case DType::bf16:
      return pack_elements<uint16_t>(row.data, first, count, stride, out, [](uint16_t x) { return x; });
    case DType::f16:
      return pack_elements<uint16_t>(row.data, first, count, stride, out,
                                     [](uint16_t x) { return to_bf16(half_to_float(x)); });
    case DType::f32:
      return pack_elements<float>(row.data, first, count, stride, out, to_bf16);
  }
}

}  // namespace

Bf16Matrix::Bf16Matrix(std::span<const HostRows> parts, uint32_t k, const Kernels& kernels, ThreadPool& pool)
    : PackedMatrix(parts, k, kernels.bf16_linear, sizeof(bf16)) {
  constexpr uint32_t block = 64;  // elements of a row at a time: the panel's part under them stays in L1
  pool.run(panels(), [&](uint32_t panel, uint32_t) {
    const uint32_t begin = panel * panel_columns, end = std::min(begin + panel_columns, n());
    for (uint32_t first = 0; first < k; first += block) {
      for (uint32_t row = begin; row < end; ++row) {
        pack_row(host_row(parts, row, k), first, std::min(block, k - first), 2 * size_t{panel_columns},
                 elements<bf16>() + index(row, first));
      }
    }
  });
}

void Bf16Matrix::unpack_row(uint32_t row, float* out) const {
  const bf16* from = elements<bf16>() + index(row, 0);
  for (uint32_t i = 0; i < k(); i += 2, from += 2 * panel_columns) {
    out[i] = to_float(from[0]);
    out[i + 1] = to_float(from[1]);
  }
}

}  // namespace npr::compute
