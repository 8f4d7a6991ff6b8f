// What training adds to the CPU backend.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "compute/backward.h"
#include "compute/cpu/attention_backward.h"
#include "compute/cpu/batch.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/kv_pool.h"
#include "compute/cpu/linear_backward.h"
#include "compute/cpu/low_rank.h"
#include "compute/cpu/optimizer_step.h"
#include "compute/cpu/thread_pool.h"

namespace npr::compute {

// Works on its backend's threads, pool and batch, which must outlive it.
class CpuBackward : public Backward {
 public:
  CpuBackward(const Kernels& kernels, ThreadPool& threads, Linear& linear, const KvPool& pool, uint32_t q_heads,
              const CpuBatch& batch)
      : kernels_(kernels),
        threads_(threads),
        pool_(pool),
        q_heads_(q_heads),
        batch_(batch),
        linear_(kernels, threads, linear),
        attention_(kernels, threads, pool, q_heads) {}

  void linear_input(const float* g, uint32_t rows, const Matrix& w, float* dx) override {
    linear_.input(g, rows, static_cast<const PackedMatrix&>(w), dx);
  }
  void linear_weight(const float* g, const bf16* x, uint32_t rows, uint32_t n, uint32_t k, float* dw) override {
    linear_.weight(g, x, rows, n, k, dw);
  }
  void rms_norm(const float* g, const float* x, const float* weight, uint32_t rows, uint32_t n, float eps, float* dx,
                float* dw) override;
  void swiglu(const float* g, const float* gate_up, uint32_t rows, uint32_t n, float* d_gate_up) override;
  void attention(uint32_t layer, const bf16* q, const bf16* out, const float* log_sums, const float* g,
                 float* d_rotated) override {
    attention_.run(batch_, layer, q, out, log_sums, g, d_rotated);
  }
  void rotate(const float* qkv, const AttentionWeights& w, float eps, float* d_rotated, float* dq_norm,
              float* dk_norm) override;
  void zero(float* x, size_t count) override { compute::zero(threads_, x, count); }
  void scatter_add(const float* g, std::span<const uint32_t> pick, uint32_t n, float* dx) override;
  void low_rank(const LowRank& factors, const float* g, float* da, float* db) override {
    low_rank_gradients(threads_, factors, g, da, db);
  }

  double sum_of_squares(const float* x, size_t count) override { return compute::sum_of_squares(threads_, x, count); }
  void adamw(const AdamWStep& step, size_t count, float* masters, float* gradients, float* first_moments,
             float* second_moments) override {
    compute::adamw(threads_, step, count, masters, gradients, first_moments, second_moments);
  }
  void low_rank_add(const LowRank& factors, float* w) override { add_low_rank(threads_, factors, w); }

  size_t logit_bytes() const override { return size_t{64} << 20; }
  std::span<float> borrow(float* x, size_t count) override { return {x, count}; }
  void give_back(float*, size_t) override {}

 private:
  // Calls task(row, sums [n]) for every row; sums of a block of rows are its own and come to `total` in order.
  template <class Task>
  void sum_rows(uint32_t rows, uint32_t n, std::span<float* const> totals, const Task& task);

  const Kernels& kernels_;
  ThreadPool& threads_;
  const KvPool& pool_;
  const uint32_t q_heads_;
  const CpuBatch& batch_;
  LinearBackward linear_;
  AttentionBackward attention_;
  std::vector<float> sums_;
};

}  // namespace npr::compute
