#include "compute/cpu/packed_matrix.h"

#include <algorithm>
#include <string>

#include "compute/convert.h"
#include "error.h"

namespace npr::compute {
namespace {

// Writes `count` elements of one row, from `first` on, as pairs `stride` elements apart.
template <class T, class Convert>
void pack_row(const T* row, uint32_t count, size_t stride, bf16* out, Convert convert) {
  for (uint32_t i = 0; i < count; i += 2, out += stride) {
    out[0] = convert(row[i]);
    out[1] = convert(row[i + 1]);
  }
}

void pack_part_row(const HostRows& part, uint32_t row, uint32_t k, uint32_t first, uint32_t count, size_t stride,
                   bf16* out) {
  const size_t at = size_t{row} * k + first;
  switch (part.dtype) {
    case DType::bf16:
      return pack_row(static_cast<const uint16_t*>(part.data) + at, count, stride, out, [](uint16_t x) { return x; });
    case DType::f16:
      return pack_row(static_cast<const uint16_t*>(part.data) + at, count, stride, out,
                      [](uint16_t x) { return to_bf16(half_to_float(x)); });
    case DType::f32:
      return pack_row(static_cast<const float*>(part.data) + at, count, stride, out, to_bf16);
  }
}

}  // namespace

PackedMatrix::PackedMatrix(std::span<const HostRows> parts, uint32_t k, ThreadPool& pool) : k_(k) {
  uint64_t rows = 0;
  for (const auto& part : parts) rows += part.n;
  if (rows == 0 || rows > UINT32_MAX || k == 0 || k % 2 != 0) {
    throw Error(ErrorCode::invalid_checkpoint, "a weight matrix of " + std::to_string(rows) + " rows and " +
                                                   std::to_string(k) +
                                                   " columns: both must be positive, and the columns even");
  }
  n_ = static_cast<uint32_t>(rows);
  data_ = Pages(panels() * panel_size() * sizeof(bf16), "weights");

  constexpr uint32_t block = 64;  // elements of a row at a time: the panel's part under them stays in L1
  pool.run(panels(), [&](uint32_t index, uint32_t) {
    bf16* panel = data_.as<bf16>() + index * panel_size();
    for (uint32_t first = 0; first < k_; first += block) {
      uint32_t part = 0, row = index * panel_columns;
      while (part < parts.size() && row >= parts[part].n) row -= parts[part++].n;
      for (uint32_t column = 0; column < panel_columns && part < parts.size(); ++column) {
        pack_part_row(parts[part], row, k_, first, std::min(block, k_ - first), 2 * size_t{panel_columns},
                      panel + (first / 2 * size_t{panel_columns} + column) * 2);
        for (++row; part < parts.size() && row == parts[part].n; row = 0) ++part;
      }
    }
  });
}

void PackedMatrix::unpack_row(uint32_t row, float* out) const {
  const bf16* from = panel(row / panel_columns) + row % panel_columns * 2;
  for (uint32_t i = 0; i < k_; i += 2, from += 2 * panel_columns) {
    out[i] = to_float(from[0]);
    out[i + 1] = to_float(from[1]);
  }
}

}  // namespace npr::compute
