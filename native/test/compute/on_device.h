// A GPU's backend as tests of operations want it: device arrays are plain memory of the host.
#pragma once
#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "compute/backend.h"
#include "compute/backward.h"

namespace support {

// Arrays of one call after another, on the device. What lies behind the end of each is checked when it comes back.
class Mirror {
 public:
  using Backend = npr::compute::Backend;
  explicit Mirror(Backend& backend) : backend_(backend) {}

  // Calls operate(), which takes its arrays from in() and out().
  template <class F>
  void run(const F& operate) {
    used_ = 0;
    operate();
    for (size_t i = 0; i < used_; ++i) take_back(arrays_[i]);
  }
  // The device's copy of host [count]; null stays null.
  template <class T>
  const T* in(const T* host, size_t count) {
    return static_cast<const T*>(send(host, nullptr, count * sizeof(T)));
  }
  // The same, which run() copies back.
  template <class T>
  T* out(T* host, size_t count) {
    return static_cast<T*>(send(host, host, count * sizeof(T)));
  }

 private:
  static constexpr size_t guard = 64;  // bytes behind an array, at least
  struct Array {
    std::shared_ptr<void> memory;
    size_t capacity = 0, bytes = 0, floats = 0;  // floats: bytes and guard
    void* host = nullptr;                        // null: goes in only
  };

  void take_back(const Array& array) {
    if (!array.host) return;
    const auto seen = backend_.host(static_cast<const float*>(array.memory.get()), array.floats);
    std::memcpy(array.host, seen.data(), array.bytes);
    const auto expected = behind(array);
    if (std::memcmp(reinterpret_cast<const std::byte*>(seen.data()) + array.bytes, expected.data(), expected.size()) !=
        0)
      throw std::runtime_error("a kernel wrote behind the end of an array of " + std::to_string(array.bytes) +
                               " bytes");
  }
  static std::vector<std::byte> behind(const Array& array) {
    return std::vector<std::byte>(array.floats * sizeof(float) - array.bytes, std::byte{0x7f});  // large numbers
  }
  void* send(const void* from, void* to, size_t bytes) {
    if (!from) return nullptr;
    if (used_ == arrays_.size()) arrays_.emplace_back();
    Array& array = arrays_[used_++];
    array.bytes = bytes;
    array.floats = (bytes + guard + 3) / 4;
    array.host = to;
    if (array.capacity < array.floats) {
      array.memory.reset();
      array.memory = backend_.allocate(array.floats * sizeof(float));
      array.capacity = array.floats;
    }
    std::vector<float> contents(array.floats);
    const auto end = behind(array);
    std::memcpy(contents.data(), from, bytes);
    std::memcpy(reinterpret_cast<std::byte*>(contents.data()) + bytes, end.data(), end.size());
    backend_.upload(static_cast<float*>(array.memory.get()), contents);
    return array.memory.get();
  }

  Backend& backend_;
  std::vector<Array> arrays_;
  size_t used_ = 0;
};

class OnDevice : public npr::compute::Backend {
  using Matrix = npr::compute::Matrix;
  using HostRows = npr::compute::HostRows;
  using Slot = npr::compute::Slot;
  using Sequence = npr::compute::Sequence;
  using AttentionWeights = npr::compute::AttentionWeights;
  using LowRank = npr::compute::LowRank;
  using bf16 = npr::compute::bf16;

 public:
  explicit OnDevice(std::unique_ptr<Backend> inner) : inner_(std::move(inner)), at_(*inner_) {}

  std::string description() const override { return inner_->description(); }
  std::unique_ptr<Matrix> pack(std::span<const HostRows> parts, uint32_t k) override { return inner_->pack(parts, k); }
  void update(Matrix& matrix, const float* rows) override {
    at_.run([&] { inner_->update(matrix, at_.in(rows, size_t{matrix.n()} * matrix.k())); });
  }
  float* floats(size_t count) override { return floats_.emplace_back(count).data(); }
  bf16* bf16s(size_t count) override { return bf16s_.emplace_back(count).data(); }
  std::shared_ptr<void> allocate(size_t bytes) override {
    auto array = std::make_shared<std::vector<float>>((bytes + 3) / 4);
    return {array, array->data()};
  }
  void upload(float* device, std::span<const float> host) override { std::copy(host.begin(), host.end(), device); }
  void download(const float* device, std::span<float> host) override { std::copy_n(device, host.size(), host.begin()); }
  void allocate_kv(const npr::compute::KvShape& shape, uint32_t slots, uint32_t q_heads,
                   const npr::compute::Rope& rope) override {
    backward_.reset();
    inner_->allocate_kv(shape, slots, q_heads, rope);
    q_size_ = size_t{q_heads} * shape.head_dim;
    qkv_size_ = q_size_ + size_t{2} * shape.kv_heads * shape.head_dim;
    q_heads_ = q_heads;
    head_dim_ = shape.head_dim;
  }
  void begin(std::span<const int32_t> positions, std::span<const Slot> slots,
             std::span<const Sequence> sequences) override {
    rows_ = positions.size();
    inner_->begin(positions, slots, sequences);
  }
  void embed(std::span<const int32_t> tokens, const Matrix& table, float* out) override {
    at_.run([&] { inner_->embed(tokens, table, at_.out(out, tokens.size() * table.k())); });
  }
  void rms_norm(const float* x, const float* weight, uint32_t rows, uint32_t n, float eps, bf16* out) override {
    at_.run([&] {
      inner_->rms_norm(at_.in(x, size_t{rows} * n), at_.in(weight, n), rows, n, eps, at_.out(out, size_t{rows} * n));
    });
  }
  void linear(const bf16* x, uint32_t rows, const Matrix& w, float* out) override {
    at_.run([&] { inner_->linear(at_.in(x, size_t{rows} * w.k()), rows, w, at_.out(out, size_t{rows} * w.n())); });
  }
  void linear_add(const bf16* x, uint32_t rows, const Matrix& w, float* out) override {
    at_.run([&] { inner_->linear_add(at_.in(x, size_t{rows} * w.k()), rows, w, at_.out(out, size_t{rows} * w.n())); });
  }
  void rotate_and_store(uint32_t layer, const float* qkv, const AttentionWeights& w, float eps, bf16* q) override {
    at_.run([&] {
      inner_->rotate_and_store(layer, at_.in(qkv, rows_ * qkv_size_), weights(w), eps, at_.out(q, rows_ * q_size_));
    });
  }
  void attention(uint32_t layer, const bf16* q, bf16* out, float* log_sums) override {
    at_.run([&] {
      inner_->attention(layer, at_.in(q, rows_ * q_size_), at_.out(out, rows_ * q_size_),
                        at_.out(log_sums, rows_ * q_heads_));
    });
  }
  void swiglu(const float* gate_up, uint32_t rows, uint32_t n, bf16* out) override {
    at_.run([&] { inner_->swiglu(at_.in(gate_up, size_t{rows} * 2 * n), rows, n, at_.out(out, size_t{rows} * n)); });
  }
  void gather(const float* x, std::span<const uint32_t> pick, uint32_t n, float* out) override {
    const size_t rows = pick.empty() ? 0 : *std::max_element(pick.begin(), pick.end()) + size_t{1};
    at_.run([&] { inner_->gather(at_.in(x, rows * n), pick, n, at_.out(out, pick.size() * n)); });
  }
  void copy(const float* from, size_t count, float* to) override {
    at_.run([&] { inner_->copy(at_.in(from, count), count, at_.out(to, count)); });
  }
  std::span<const float> host(const float* device, size_t count) override { return {device, count}; }
  void parallel(uint32_t count, const std::function<void(uint32_t)>& task) override { inner_->parallel(count, task); }

  npr::compute::Backward& backward() override {
    if (!backward_) backward_ = std::make_unique<Gradients>(*this);
    return *backward_;
  }

 private:
  class Gradients : public npr::compute::Backward {
   public:
    explicit Gradients(OnDevice& at) : backend_(at), inner_(at.inner_->backward()), at_(at.at_) {}

    void linear_input(const float* g, uint32_t rows, const Matrix& w, float* dx) override {
      at_.run(
          [&] { inner_.linear_input(at_.in(g, size_t{rows} * w.n()), rows, w, at_.out(dx, size_t{rows} * w.k())); });
    }
    void linear_weight(const float* g, const bf16* x, uint32_t rows, uint32_t n, uint32_t k, float* dw) override {
      at_.run([&] {
        inner_.linear_weight(at_.in(g, size_t{rows} * n), at_.in(x, size_t{rows} * k), rows, n, k,
                             at_.out(dw, size_t{n} * k));
      });
    }
    void rms_norm(const float* g, const float* x, const float* weight, uint32_t rows, uint32_t n, float eps, float* dx,
                  float* dw) override {
      const size_t count = size_t{rows} * n;
      at_.run([&] {
        inner_.rms_norm(at_.in(g, count), at_.in(x, count), at_.in(weight, n), rows, n, eps, at_.out(dx, count),
                        at_.out(dw, n));
      });
    }
    void swiglu(const float* g, const float* gate_up, uint32_t rows, uint32_t n, float* d_gate_up) override {
      const size_t count = size_t{rows} * n;
      at_.run(
          [&] { inner_.swiglu(at_.in(g, count), at_.in(gate_up, 2 * count), rows, n, at_.out(d_gate_up, 2 * count)); });
    }
    void attention(uint32_t layer, const bf16* q, const bf16* out, const float* log_sums, const float* g,
                   float* d_rotated) override {
      const size_t count = backend_.rows_ * backend_.q_size_;
      at_.run([&] {
        inner_.attention(layer, at_.in(q, count), at_.in(out, count),
                         at_.in(log_sums, backend_.rows_ * backend_.q_heads_), at_.in(g, count),
                         at_.out(d_rotated, backend_.rows_ * backend_.qkv_size_));
      });
    }
    void rotate(const float* qkv, const AttentionWeights& w, float eps, float* d_rotated, float* dq_norm,
                float* dk_norm) override {
      const size_t count = backend_.rows_ * backend_.qkv_size_;
      at_.run([&] {
        inner_.rotate(at_.in(qkv, count), backend_.weights(w), eps, at_.out(d_rotated, count),
                      at_.out(dq_norm, backend_.head_dim_), at_.out(dk_norm, backend_.head_dim_));
      });
    }
    void zero(float* x, size_t count) override {
      at_.run([&] { inner_.zero(at_.out(x, count), count); });
    }
    void scatter_add(const float* g, std::span<const uint32_t> pick, uint32_t n, float* dx) override {
      const size_t rows = pick.empty() ? 0 : *std::max_element(pick.begin(), pick.end()) + size_t{1};
      at_.run([&] { inner_.scatter_add(at_.in(g, pick.size() * n), pick, n, at_.out(dx, rows * n)); });
    }

    void low_rank(const LowRank& factors, const float* g, float* da, float* db) override {
      at_.run([&] {
        inner_.low_rank(on_device(factors), at_.in(g, size_t{factors.rows} * factors.columns),
                        at_.out(da, size_t{factors.rank} * factors.columns),
                        at_.out(db, size_t{factors.rows} * factors.rank));
      });
    }
    double sum_of_squares(const float* x, size_t count) override {
      double sum = 0;
      at_.run([&] { sum = inner_.sum_of_squares(at_.in(x, count), count); });
      return sum;
    }
    void adamw(const npr::compute::AdamWStep& step, size_t count, float* masters, float* gradients,
               float* first_moments, float* second_moments) override {
      at_.run([&] {
        inner_.adamw(step, count, at_.out(masters, count), at_.out(gradients, count), at_.out(first_moments, count),
                     at_.out(second_moments, count));
      });
    }
    void low_rank_add(const LowRank& factors, float* w) override {
      at_.run([&] { inner_.low_rank_add(on_device(factors), at_.out(w, size_t{factors.rows} * factors.columns)); });
    }
    size_t logit_bytes() const override { return inner_.logit_bytes(); }
    std::span<float> borrow(float* x, size_t count) override { return {x, count}; }
    void give_back(float*, size_t) override {}

   private:
    LowRank on_device(LowRank factors) {
      factors.a = at_.in(factors.a, size_t{factors.rank} * factors.columns);
      factors.b = at_.in(factors.b, size_t{factors.rows} * factors.rank);
      return factors;
    }

    OnDevice& backend_;
    npr::compute::Backward& inner_;
    Mirror& at_;
  };

  AttentionWeights weights(const AttentionWeights& w) {
    return {at_.in(w.q_norm, head_dim_), at_.in(w.k_norm, head_dim_)};
  }

  std::unique_ptr<Backend> inner_;
  Mirror at_;
  std::unique_ptr<Gradients> backward_;
  std::deque<std::vector<float>> floats_;
  std::deque<std::vector<bf16>> bf16s_;
  size_t rows_ = 0, q_size_ = 0, qkv_size_ = 0, q_heads_ = 0, head_dim_ = 0;
};

}  // namespace support
