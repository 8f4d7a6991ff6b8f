// Gradients of attention over the device's KV pool.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <span>

#include "compute/backend.h"
#include "compute/cuda/kv_pool.h"

namespace npr::compute {

// Keys' and values' gradients are summed by the block that owns 64 of them, over queries in order of their rows and
// heads; queries' gradients by the block that owns 64 of those, over keys in order of their rows: no atomics, and one
// order. Thread safety: one thread at a time. Work is queued on `stream`; nothing waits but for room to stage a plan.
class CudaAttentionBackward {
 public:
  CudaAttentionBackward(cudaStream_t stream, const CudaKvPool& pool, uint32_t q_heads);
  ~CudaAttentionBackward();

  // Plans a batch whose rows, in `slots`, hold every key that is seen.
  void begin(std::span<const Slot> slots, std::span<const Sequence> sequences);
  // See Backward::attention.
  void run(uint32_t layer, const bf16* q, const bf16* out, const float* log_sums, const float* g, float* d_rotated);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace npr::compute
