// A backend that is told what its model says, and tells when a step came by.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "compute/backend.h"

namespace npr::bench {

// Computes what `inner` does, except that `favourite` is the token with by far the largest logit in every row.
// Thread safety: as Backend.
class PromptedBackend : public compute::Backend {
 public:
  using Clock = std::chrono::steady_clock;
  using bf16 = compute::bf16;
  using Matrix = compute::Matrix;

  PromptedBackend(std::unique_ptr<Backend> inner, uint32_t vocab) : inner_(std::move(inner)), vocab_(vocab) {}

  int32_t favourite = 0;
  // Of the last step: when its batch was handed over, and when parallel() was first entered and last left.
  Clock::time_point begun, sampling, sampled;

  std::string description() const override { return inner_->description(); }
  std::unique_ptr<Matrix> pack(std::span<const compute::HostRows> parts, uint32_t k) override {
    return inner_->pack(parts, k);
  }
  void update(Matrix& matrix, const float* rows) override { inner_->update(matrix, rows); }
  float* floats(size_t count) override { return inner_->floats(count); }
  bf16* bf16s(size_t count) override { return inner_->bf16s(count); }
  void upload(float* device, std::span<const float> host) override { inner_->upload(device, host); }
  void download(const float* device, std::span<float> host) override { inner_->download(device, host); }
  void allocate_kv(const compute::KvShape& shape, uint32_t slots, uint32_t q_heads, const compute::Rope& r) override {
    inner_->allocate_kv(shape, slots, q_heads, r);
  }
  void begin(std::span<const int32_t> positions, std::span<const compute::Slot> slots,
             std::span<const compute::Sequence> sequences) override {
    begun = sampling = sampled = Clock::now();
    inner_->begin(positions, slots, sequences);
  }
  void embed(std::span<const int32_t> tokens, const Matrix& table, float* out) override {
    inner_->embed(tokens, table, out);
  }
  void rms_norm(const float* x, const float* weight, uint32_t rows, uint32_t n, float eps, bf16* out) override {
    inner_->rms_norm(x, weight, rows, n, eps, out);
  }
  void linear(const bf16* x, uint32_t rows, const Matrix& w, float* out) override { inner_->linear(x, rows, w, out); }
  void linear_add(const bf16* x, uint32_t rows, const Matrix& w, float* out) override {
    inner_->linear_add(x, rows, w, out);
  }
  void rotate_and_store(uint32_t layer, const float* qkv, const compute::AttentionWeights& w, float eps,
                        bf16* q) override {
    inner_->rotate_and_store(layer, qkv, w, eps, q);
  }
  void attention(uint32_t layer, const bf16* q, bf16* out, float* log_sums) override {
    inner_->attention(layer, q, out, log_sums);
  }
  void copy(const float* from, size_t count, float* to) override { inner_->copy(from, count, to); }
  std::shared_ptr<void> allocate(size_t bytes) override { return inner_->allocate(bytes); }
  compute::Backward& backward() override { return inner_->backward(); }
  void swiglu(const float* gate_up, uint32_t rows, uint32_t n, bf16* out) override {
    inner_->swiglu(gate_up, rows, n, out);
  }
  void gather(const float* x, std::span<const uint32_t> pick, uint32_t n, float* out) override {
    inner_->gather(x, pick, n, out);
  }
  std::span<const float> host(const float* device, size_t count) override {
    const auto logits = inner_->host(device, count);
    // In place: a copy would leave them in one thread's cache while the others fall asleep.
    auto* const values = const_cast<float*>(logits.data());
    prompted_.resize(std::max(prompted_.size(), count / vocab_));
    for (size_t row = 0; row < count / vocab_; ++row) {
      values[row * vocab_ + static_cast<size_t>(prompted_[row])] = 0;
      values[row * vocab_ + static_cast<size_t>(favourite)] = 100;
      prompted_[row] = favourite;
    }
    return logits;
  }
  void repeat(const std::function<void()>& step) override { inner_->repeat(step); }
  void parallel(uint32_t count, const std::function<void(uint32_t)>& task) override {
    if (sampling == begun) sampling = Clock::now();
    inner_->parallel(count, task);
    sampled = Clock::now();
  }

 private:
  std::unique_ptr<Backend> inner_;
  uint32_t vocab_;
  std::vector<int32_t> prompted_;  // [rows] the last favourite: who computes nothing does not overwrite it
};

}  // namespace npr::bench
