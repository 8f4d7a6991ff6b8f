// The optimizer's step on the device, in the operations of the CPU's, to the same bits where no sum is involved.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>

#include "compute/backward.h"

namespace npr::compute {

// As Backward::adamw(). 32 bytes a number.
void adamw(cudaStream_t stream, const AdamWStep& step, size_t count, float* masters, float* gradients,
           float* first_moments, float* second_moments);

// Sums of this many numbers' squares are made by one block each, and added up in their order.
constexpr size_t squares_chunk = size_t{1} << 17;
// sums [ceil(count / squares_chunk)] of squares, in double. 4 bytes a number.
void sums_of_squares(cudaStream_t stream, const float* x, size_t count, double* sums);

}  // namespace npr::compute
