// What training adds to the CUDA backend.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>
#include <vector>

#include "compute/backward.h"
#include "compute/cuda/attention_backward.h"
#include "compute/cuda/cuda_batch.h"
#include "compute/cuda/cuda_memory.h"
#include "compute/cuda/kv_pool.h"
#include "compute/cuda/linear.h"
#include "compute/cuda/staging.h"

namespace npr::compute {

// Works on its backend's stream, pool and batch, which must outlive it. Thread safety: as its backend. Work is queued;
// what gives the host a result waits for it.
class CudaBackward : public Backward {
 public:
  CudaBackward(cudaStream_t stream, CudaLinear& linear, const CudaKvPool& pool, uint32_t q_heads,
               const CudaBatch& batch)
      : stream_(stream),
        linear_(linear),
        pool_(pool),
        q_heads_(q_heads),
        batch_(batch),
        attention_(stream, pool, q_heads),
        staging_(stream) {}

  void linear_input(const float* g, uint32_t rows, const Matrix& w, float* dx) override {
    linear_.input(g, rows, static_cast<const CudaMatrix&>(w), dx);
  }
  void linear_weight(const float* g, const bf16* x, uint32_t rows, uint32_t n, uint32_t k, float* dw) override {
    linear_.weight(g, x, rows, n, k, dw);
  }
  void rms_norm(const float* g, const float* x, const float* weight, uint32_t rows, uint32_t n, float eps, float* dx,
                float* dw) override;
  void swiglu(const float* g, const float* gate_up, uint32_t rows, uint32_t n, float* d_gate_up) override;
  void attention(uint32_t layer, const bf16* q, const bf16* out, const float* log_sums, const float* g,
                 float* d_rotated) override;
  void rotate(const float* qkv, const AttentionWeights& w, float eps, float* d_rotated, float* dq_norm,
              float* dk_norm) override;
  void zero(float* x, size_t count) override;
  void scatter_add(const float* g, std::span<const uint32_t> pick, uint32_t n, float* dx) override;
  void low_rank(const LowRank& factors, const float* g, float* da, float* db) override;

  double sum_of_squares(const float* x, size_t count) override;
  void adamw(const AdamWStep& step, size_t count, float* masters, float* gradients, float* first_moments,
             float* second_moments) override;
  void low_rank_add(const LowRank& factors, float* w) override;

  // For Qwen3's vocabulary 883 rows, where the head's gradient takes about as long as its product.
  size_t logit_bytes() const override { return size_t{512} << 20; }
  std::span<float> borrow(float* x, size_t count) override;
  void give_back(float* x, size_t count) override;

 private:
  // Device memory of one call, which the next one's work may overwrite.
  float* partial(size_t floats);

  cudaStream_t stream_;
  CudaLinear& linear_;
  const CudaKvPool& pool_;
  const uint32_t q_heads_;
  const CudaBatch& batch_;
  CudaAttentionBackward attention_;
  uint64_t planned_ = 0;  // the batch that `attention_` was told
  Staging staging_;
  DeviceArray partial_, groups_;
  PinnedArray borrowed_;
};

}  // namespace npr::compute
