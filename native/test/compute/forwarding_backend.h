// A backend that lets another compute: what tests and benchmarks override some of.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "compute/backend.h"

namespace test {

// Every call goes to `inner`, which it owns. Thread safety: as `inner`.
class ForwardingBackend : public npr::compute::Backend {
 public:
  using Matrix = npr::compute::Matrix;
  using Slot = npr::compute::Slot;
  using Sequence = npr::compute::Sequence;
  using bf16 = npr::compute::bf16;

  explicit ForwardingBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  std::string description() const override { return inner_->description(); }
  std::unique_ptr<Matrix> pack(std::span<const npr::compute::HostRows> parts, uint32_t k) override {
    return inner_->pack(parts, k);
  }
  void update(Matrix& matrix, const float* rows) override { inner_->update(matrix, rows); }
  float* floats(size_t count) override { return inner_->floats(count); }
  bf16* bf16s(size_t count) override { return inner_->bf16s(count); }
  std::shared_ptr<void> allocate(size_t bytes) override { return inner_->allocate(bytes); }
  std::optional<uint64_t> free_memory() const override { return inner_->free_memory(); }
  void upload(float* device, std::span<const float> host) override { inner_->upload(device, host); }
  void download(const float* device, std::span<float> host) override { inner_->download(device, host); }
  void allocate_kv(const npr::compute::KvShape& shape, uint32_t slots, uint32_t q_heads,
                   const npr::compute::Rope& rope) override {
    inner_->allocate_kv(shape, slots, q_heads, rope);
  }
  void begin(std::span<const int32_t> positions, std::span<const Slot> slots,
             std::span<const Sequence> sequences) override {
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
  void rotate_and_store(uint32_t layer, const float* qkv, const npr::compute::AttentionWeights& w, float eps,
                        bf16* q) override {
    inner_->rotate_and_store(layer, qkv, w, eps, q);
  }
  void attention(uint32_t layer, const bf16* q, bf16* out, float* log_sums) override {
    inner_->attention(layer, q, out, log_sums);
  }
  void swiglu(const float* gate_up, uint32_t rows, uint32_t n, bf16* out) override {
    inner_->swiglu(gate_up, rows, n, out);
  }
  void gather(const float* x, std::span<const uint32_t> pick, uint32_t n, float* out) override {
    inner_->gather(x, pick, n, out);
  }
  void copy(const float* from, size_t count, float* to) override { inner_->copy(from, count, to); }
  std::span<const float> host(const float* device, size_t count) override { return inner_->host(device, count); }
  void repeat(const std::function<void()>& step) override { inner_->repeat(step); }
  void parallel(uint32_t count, const std::function<void(uint32_t)>& task) override { inner_->parallel(count, task); }
  uint32_t logit_rows() const override { return inner_->logit_rows(); }
  npr::compute::Policies* policies() override { return inner_->policies(); }
  npr::compute::Backward& backward() override { return inner_->backward(); }

 private:
  std::unique_ptr<Backend> inner_;
};

}  // namespace test
