#include "compute/cpu/packed_matrix.h"

#include <string>

#include "error.h"

namespace npr::compute {

PackedMatrix::PackedMatrix(std::span<const HostRows> parts, uint32_t k, const LinearKernels& kernels,
                           uint32_t element_bytes)
    : kernels_(kernels), k_(k), element_bytes_(element_bytes) {
  uint64_t rows = 0;
  for (const auto& part : parts) rows += part.n;
  if (rows == 0 || rows > UINT32_MAX || k == 0 || k % 2 != 0) {
    throw Error(ErrorCode::invalid_checkpoint, "a weight matrix of " + std::to_string(rows) + " rows and " +
                                                   std::to_string(k) +
                                                   " columns: both must be positive, and the columns even");
  }
  n_ = static_cast<uint32_t>(rows);
  constexpr size_t line = 64;
  panel_bytes_ = (size_t{k} * panel_columns * element_bytes + line - 1) / line * line;
  data_ = Pages(panels() * panel_bytes_, "weights");
}

void PackedMatrix::require_finite(bool finite) {
  if (!finite) throw Error(ErrorCode::invalid_checkpoint, "expected finite weights, found NaN or infinity");
}

HostRow host_row(std::span<const HostRows> parts, uint32_t row, uint32_t k) {
  size_t part = 0;
  while (row >= parts[part].n) row -= parts[part++].n;
  const size_t element = parts[part].dtype == DType::f32 ? 4 : 2;
  return {static_cast<const std::byte*>(parts[part].data) + size_t{row} * k * element, parts[part].dtype};
}

}  // namespace npr::compute
