#include "compute/cuda/cuda_memory.h"

#include <string>

#include "compute/cuda/cuda_check.h"

namespace npr::compute {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  cudaGetLastError();
  throw Error(ErrorCode::out_of_memory, message);
}

}  // namespace

void* DeviceMemory::allocate(size_t bytes, const char* what) {
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    size_t free = 0, total = 0;
    NPR_CUDA(cudaMemGetInfo(&free, &total));
    refuse("the GPU can't give " + std::to_string(bytes) + " bytes of memory for " + what + ": of its " +
           std::to_string(total) + " bytes " + std::to_string(free) + " are free");
  }
  cuda_check(status, "cudaMalloc");
  // On the legacy stream, which streams of ours do not wait for.
  try {
    NPR_CUDA(cudaMemsetAsync(data, 0, bytes, nullptr));
    NPR_CUDA(cudaStreamSynchronize(nullptr));
  } catch (...) {
    cudaFree(data);
    throw;
  }
  return data;
}

void DeviceMemory::free(void* data) { cudaFree(data); }

void* PinnedMemory::allocate(size_t bytes, const char* what) {
  void* data = nullptr;
  const cudaError_t status = cudaMallocHost(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    refuse("the system can't give " + std::to_string(bytes) + " bytes of pinned memory for " + what);
  }
  cuda_check(status, "cudaMallocHost");
  return data;
}

void PinnedMemory::free(void* data) { cudaFreeHost(data); }

}  // namespace npr::compute
