// A backend that computes nothing: every logit is 0, so that what is sampled depends on masks, biases and seeds alone.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "compute/backend.h"
#include "error.h"

namespace test {

class StubBackend : public npr::compute::Backend {
  using Slot = npr::compute::Slot;
  using Matrix = npr::compute::Matrix;
  using bf16 = npr::compute::bf16;

 public:
  // Every operation of a step comes here first, and may throw.
  std::function<void()> on_call = [] {};

  std::string description() const override { return "stub"; }
  std::unique_ptr<Matrix> pack(std::span<const npr::compute::HostRows> parts, uint32_t k) override {
    uint32_t n = 0;
    for (const auto& part : parts) n += part.n;
    return std::make_unique<Shape>(n, k);
  }
  void update(Matrix&, const float*) override { on_call(); }
  float* floats(size_t count) override { return floats_.emplace_back(count).data(); }
  bf16* bf16s(size_t count) override { return bf16s_.emplace_back(count).data(); }
  std::shared_ptr<void> allocate(size_t bytes) override {
    return std::shared_ptr<void>(new char[bytes](), [](void* p) { delete[] static_cast<char*>(p); });
  }
  void upload(float*, std::span<const float>) override {}
  void download(const float*, std::span<float>) override {}
  void allocate_kv(const npr::compute::KvShape&, uint32_t, uint32_t, const npr::compute::Rope&) override {}

  void begin(std::span<const int32_t>, std::span<const Slot>, std::span<const npr::compute::Sequence>) override {
    on_call();
  }
  void embed(std::span<const int32_t>, const Matrix&, float*) override { on_call(); }
  void rms_norm(const float*, const float*, uint32_t, uint32_t, float, bf16*) override { on_call(); }
  void linear(const bf16*, uint32_t, const Matrix&, float*) override { on_call(); }
  void linear_add(const bf16*, uint32_t, const Matrix&, float*) override { on_call(); }
  void rotate_and_store(uint32_t, const float*, const npr::compute::AttentionWeights&, float, bf16*) override {
    on_call();
  }
  void attention(uint32_t, const bf16*, bf16*, float*) override { on_call(); }
  void swiglu(const float*, uint32_t, uint32_t, bf16*) override { on_call(); }
  void gather(const float*, std::span<const uint32_t>, uint32_t, float*) override { on_call(); }
  void copy(const float*, size_t, float*) override { on_call(); }
  std::span<const float> host(const float* device, size_t count) override {
    on_call();
    return {device, count};
  }
  void parallel(uint32_t count, const std::function<void(uint32_t)>& task) override {
    on_call();
    for (uint32_t i = 0; i < count; ++i) task(i);
  }

  npr::compute::Backward& backward() override { throw npr::Error(npr::ErrorCode::invalid_request, "nothing to train"); }

 private:
  struct Shape : Matrix {
    Shape(uint32_t n, uint32_t k) : n_(n), k_(k) {}
    uint32_t n() const override { return n_; }
    uint32_t k() const override { return k_; }
    uint32_t n_, k_;
  };

  std::deque<std::vector<float>> floats_;
  std::deque<std::vector<bf16>> bf16s_;
};

}  // namespace test
