// Small arrays of the host on their way to the device.
#pragma once
#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>

#include "compute/cuda/cuda_memory.h"

namespace npr::compute {

// A ring of pinned buffers: one is written while copies from the others may still be under way.
// Thread safety: one thread at a time. Nothing waits but for a buffer whose copy is the ring's length ago.
class Staging {
 public:
  explicit Staging(cudaStream_t stream);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // `bytes` to write to, up to the next send().
  std::byte* room(size_t bytes);
  // Queues a copy of the first `bytes` of the room to the device.
  void send(void* device, size_t bytes);

 private:
  struct Buffer {
    PinnedArray memory;
    cudaEvent_t sent = nullptr;  // completes with the copy
  };

  cudaStream_t stream_;
  std::array<Buffer, 4> ring_;
  size_t at_ = 0;
};

}  // namespace npr::compute
