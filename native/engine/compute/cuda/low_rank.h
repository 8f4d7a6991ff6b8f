// LoRA's products on the device, in fp32; every sum has one order.
#pragma once
#include <cuda_runtime_api.h>

#include "compute/backward.h"

namespace npr::compute {

// As Backward::low_rank_add() and Backward::low_rank(). The matrix is read once for the former and twice for the
// latter, but for ranks above 8, of which da takes as many at a time.
void add_low_rank(cudaStream_t stream, const LowRank& factors, float* w);
void low_rank_gradients(cudaStream_t stream, const LowRank& factors, const float* g, float* da, float* db);

}  // namespace npr::compute
