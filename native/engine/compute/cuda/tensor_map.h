// Descriptions of matrices for the device's tensor copies.
#pragma once
#include <cuda.h>

#include <cstdint>

#include "compute/backend.h"

namespace npr::compute {

// A row-major bf16 matrix [height, width] whose rows are `stride` elements apart, copied in boxes of `box` rows by 64
// columns (128 bytes) with the 128-byte swizzle; what lies outside the matrix is zero. `data` is aligned to 16 bytes,
// the stride a multiple of 8, box at most 256. Takes some hundreds of nanoseconds; throws Error(internal) where
// refused.
CUtensorMap tensor_map(const bf16* data, uint64_t width, uint64_t height, uint64_t stride, uint32_t box);
// The same of floats, in boxes of 32 rows by 32 columns. n is a multiple of 4.
CUtensorMap tensor_map(const float* data, uint64_t n, uint64_t rows);

}  // namespace npr::compute
