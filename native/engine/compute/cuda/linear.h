// Products with weight matrices on the device.
//
// Bits: what an output is depends on its row of x and on the matrix alone, whatever the number of rows.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "compute/cuda/cuda_matrix.h"

namespace npr::compute {

// Thread safety: one thread at a time. Work is queued on `stream`; nothing waits.
class CudaLinear {
 public:
  explicit CudaLinear(cudaStream_t stream);

  // out [rows, n] = x [rows, k] . w^T, or out += that. All are device arrays, row-major without padding.
  void run(const bf16* x, uint32_t rows, const CudaMatrix& w, float* out, bool add);
  // Backward: dx [rows, k] = g [rows, n] . w, operands rounded to bf16.
  void input(const float* g, uint32_t rows, const CudaMatrix& w, float* dx);
  // Backward: dw [n, k] += g [rows, n]^T . x [rows, k], operands rounded to bf16.
  void weight(const float* g, const bf16* x, uint32_t rows, uint32_t n, uint32_t k, float* dw);

 private:
  cudaStream_t stream_;
};

}  // namespace npr::compute
