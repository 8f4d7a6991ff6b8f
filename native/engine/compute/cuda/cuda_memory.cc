#include "compute/cuda/cuda_memory.h"

#include <string>
#include <utility>

#include "compute/cuda/cuda_check.h"

namespace npr::compute {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  cudaGetLastError();
  throw Error(ErrorCode::out_of_memory, message);
}

}  // namespace

DeviceArray::DeviceArray(size_t bytes, const char* what) : bytes_(bytes) {
  if (bytes == 0) return;
  const cudaError_t status = cudaMalloc(&data_, bytes);
  if (status == cudaErrorMemoryAllocation) {
    size_t free = 0, total = 0;
    NPR_CUDA(cudaMemGetInfo(&free, &total));
    refuse("the GPU can't give " + std::to_string(bytes) + " bytes of memory for " + what + ": of its " +
           std::to_string(total) + " bytes " + std::to_string(free) + " are free");
  }
  cuda_check(status, "cudaMalloc");
  // On the legacy stream, which streams of ours do not wait for.
  try {
    NPR_CUDA(cudaMemsetAsync(data_, 0, bytes, nullptr));
    NPR_CUDA(cudaStreamSynchronize(nullptr));
  } catch (...) {
    cudaFree(data_);
    throw;
  }
}

// Freeing waits for the kernels that are queued; where the device is lost nothing is left to be freed.
DeviceArray::~DeviceArray() {
  if (data_) cudaFree(data_);
}

DeviceArray::DeviceArray(DeviceArray&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

DeviceArray& DeviceArray::operator=(DeviceArray&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PinnedArray::PinnedArray(size_t bytes, const char* what) : bytes_(bytes) {
  if (bytes == 0) return;
  const cudaError_t status = cudaMallocHost(&data_, bytes);
  if (status == cudaErrorMemoryAllocation) {
    refuse("the system can't give " + std::to_string(bytes) + " bytes of pinned memory for " + what);
  }
  cuda_check(status, "cudaMallocHost");
}

PinnedArray::~PinnedArray() {
  if (data_) cudaFreeHost(data_);
}

PinnedArray::PinnedArray(PinnedArray&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

PinnedArray& PinnedArray::operator=(PinnedArray&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace npr::compute
