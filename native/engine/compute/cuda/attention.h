// Attention over the device's KV pool.
//
// Bits: keys are taken in chunks of 64 counted along the visible path, folded in order within units
// (attention_units.h), units merged in order, in one arithmetic whatever the batch: how many rows share a launch, which
// rows share keys, and whether units are merged in registers or from memory changes nothing.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <span>

#include "compute/backend.h"
#include "compute/cuda/kv_pool.h"

namespace npr::compute {

// Thread safety: one thread at a time. Work is queued on `stream`; nothing waits but for room to stage a plan.
class CudaAttention {
 public:
  static constexpr uint32_t most_group = 64;  // query heads of a KV head

  CudaAttention(cudaStream_t stream, const CudaKvPool& pool, uint32_t q_heads);
  ~CudaAttention();

  // Plans the batch and sends the plan to the device.
  void begin(std::span<const Sequence> sequences);
  // What the launches of run() depend on beside their arguments: batches with equal signatures can replay them.
  uint64_t signature() const;
  // q, out [rows, q_heads, head_dim]: softmax(q . k / sqrt(head_dim)) . v over each row's visible path; log_sums
  // [rows, q_heads] (natural logarithm of the softmax's sum) or null.
  void run(uint32_t layer, const bf16* q, bf16* out, float* log_sums);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace npr::compute
