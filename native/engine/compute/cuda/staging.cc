#include "compute/cuda/staging.h"

#include "compute/cuda/cuda_check.h"

namespace npr::compute {

Staging::Staging(cudaStream_t stream) : stream_(stream) {
  for (Buffer& buffer : ring_) NPR_CUDA(cudaEventCreateWithFlags(&buffer.sent, cudaEventDisableTiming));
}

Staging::~Staging() {
  for (Buffer& buffer : ring_) {
    if (!buffer.sent) continue;
    cudaEventSynchronize(buffer.sent);
    cudaEventDestroy(buffer.sent);
  }
}

std::byte* Staging::room(size_t bytes) {
  Buffer& buffer = ring_[at_];
  NPR_CUDA(cudaEventSynchronize(buffer.sent));  // one that was never recorded is complete
  buffer.memory.reserve(bytes, "copies to the GPU");
  return buffer.memory.as<std::byte>();
}

void Staging::send(void* device, size_t bytes) {
  Buffer& buffer = ring_[at_];
  NPR_CUDA(cudaMemcpyAsync(device, buffer.memory.as<void>(), bytes, cudaMemcpyHostToDevice, stream_));
  NPR_CUDA(cudaEventRecord(buffer.sent, stream_));
  at_ = (at_ + 1) % ring_.size();
}

}  // namespace npr::compute
