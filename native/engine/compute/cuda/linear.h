// Products with weight matrices on the device.
//
// Bits: what an output is depends on its row of x and on the matrix alone, whatever the number of rows.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <optional>

#include "compute/cuda/cuda_matrix.h"
#include "compute/cuda/gemm_sm90.h"

namespace npr::compute {

// Thread safety: one thread at a time. Work is queued on `stream`; nothing waits. run() allocates nothing, so that it
// can be captured; the gradients' first calls allocate what rounds g. run() may read weights before what was queued
// earlier has ended: who writes weights waits for the stream before the next run().
class CudaLinear {
 public:
  // The instruction of sm_90a where device and matrix allow, or mma.sync for all.
  enum class Instruction { best, mma };
  explicit CudaLinear(cudaStream_t stream, Instruction instruction = Instruction::best);

  // out [rows, n] = x [rows, k] . w^T, or out += that. All are device arrays, row-major without padding.
  void run(const bf16* x, uint32_t rows, const CudaMatrix& w, float* out, bool add);
  // Backward: dx [rows, k] = g [rows, n] . w, operands rounded to bf16.
  void input(const float* g, uint32_t rows, const CudaMatrix& w, float* dx);
  // Backward: dw [n, k] += g [rows, n]^T . x [rows, k], operands rounded to bf16.
  void weight(const float* g, const bf16* x, uint32_t rows, uint32_t n, uint32_t k, float* dw);

 private:
  Bf16View rounded(const float* g, uint32_t rows, uint32_t n);

  cudaStream_t stream_;
  std::optional<GemmSm90> sm90_;
  DeviceArray rounded_;  // g as bf16, [rows, n rounded up to 8]
};

}  // namespace npr::compute
