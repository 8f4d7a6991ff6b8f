// Weights into matrices of the device.
#pragma once
#include <cuda_runtime_api.h>

#include <span>

#include "compute/backend.h"
#include "compute/cpu/thread_pool.h"
#include "compute/cuda/cuda_matrix.h"
#include "compute/cuda/staging.h"

namespace npr::compute {

// Chunks of rows as they are in the host's memory go through pinned memory, one written while others are copied, and
// are rounded to bf16 on the device. Thread safety: one thread at a time.
class MatrixWriter {
 public:
  MatrixWriter(cudaStream_t stream, ThreadPool& threads);

  // Fills `matrix` with rows stacked along n, and waits. Throws Error(invalid_checkpoint) where a value is not finite
  // as bf16; the contents are undefined then.
  void fill(const CudaMatrix& matrix, std::span<const HostRows> parts);
  // The same from a device array [n, k].
  void fill(const CudaMatrix& matrix, const float* rows);

 private:
  void expect_finite();
  // Throws unless all that was rounded since then is finite.
  void require_finite();
  // Rows [first, first + count) of the matrix.
  void send(const CudaMatrix& matrix, uint32_t first, uint32_t count, const std::byte* rows, DType dtype);

  cudaStream_t stream_;
  ThreadPool& threads_;
  Staging staging_;
  DeviceArray chunk_;       // what is to be rounded
  DeviceArray not_finite_;  // int
};

}  // namespace npr::compute
