// A stream of the device's work.
#pragma once
#include <cuda_runtime_api.h>

#include "compute/cuda/cuda_check.h"

namespace npr::compute {

// Waits for no other stream. Thread safety: as a handle.
class CudaStream {
 public:
  CudaStream() { NPR_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~CudaStream() { cudaStreamDestroy(stream_); }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace npr::compute
