// compute/policy.h step by step, and a CPU's backend that has its logits looked at so.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "compute/backend.h"
#include "compute/policy.h"
#include "sample/softmax_kernels.h"

namespace test {

class PlainPolicies : public npr::compute::Policies {
  using Row = npr::compute::PolicyRow;
  using Edits = std::span<const npr::compute::LogitEdit>;

 public:
  uint64_t looked = 0;  // rows

  void look(const float* logits, uint32_t vocab, std::span<const Row> rows, Edits edits,
            std::span<npr::compute::PolicyValue> values) override {
    looked += rows.size();
    for (size_t i = 0; i < rows.size(); ++i) values[i] = look(edited(logits, vocab, rows[i], edits), rows[i]);
  }

  void differentiate(float* logits, uint32_t vocab, std::span<const Row> rows, Edits edits,
                     std::span<const npr::compute::PolicyValue> values,
                     std::span<const npr::compute::PolicySlope> slopes, bool replace,
                     std::span<double> distances) override {
    for (size_t i = 0; i < rows.size(); ++i) {
      float* const row = logits + size_t{rows[i].row} * vocab;
      const auto x = edited(logits, vocab, rows[i], edits);
      distances[i] = 0;
      if (replace) std::fill_n(row, vocab, 0.0f);
      if (!slopes[i].wanted) continue;
      for (size_t begin = 0; begin < vocab; begin += npr::sample::chunk_entries) {
        float sums[16] = {};
        for (size_t t = begin; t < std::min<size_t>(vocab, begin + npr::sample::chunk_entries); ++t) {
          const float weight = weigh(x[t], values[i].max, rows[i].scale);
          if (weight > 0) sums[t % 16] += weight * (x[t] - values[i].max);
          if (replace) row[t] = slopes[i].factor * weight;
        }
        distances[i] += add(sums);
      }
      if (replace) row[values[i].token] += slopes[i].slope;
    }
  }

 private:
  static float weigh(float x, float max, float scale) { return npr::sample::exp_nonpositive((x - max) * scale); }

  static double add(const float (&sums)[16]) {
    double total = 0;
    for (const float sum : sums) total += double{sum};
    return total;
  }

  // What is not finite is minus infinity.
  static std::vector<float> edited(const float* logits, uint32_t vocab, const Row& row, Edits edits) {
    std::vector<float> x(logits + size_t{row.row} * vocab, logits + size_t{row.row + 1} * vocab);
    for (uint32_t e = row.edits_begin; e < row.edits_end; ++e) x[static_cast<size_t>(edits[e].token)] += edits[e].bias;
    for (float& each : x) each = std::isfinite(each) ? each : -std::numeric_limits<float>::infinity();
    return x;
  }

  static npr::compute::PolicyValue look(const std::vector<float>& x, const Row& row) {
    const auto largest = std::max_element(x.begin(), x.end());
    npr::compute::PolicyValue out{row.token, 0, *largest, 0};
    if (!std::isfinite(out.max)) return out;
    if (row.which == Row::Token::largest) out.token = static_cast<int32_t>(largest - x.begin());
    for (size_t begin = 0; begin < x.size() && row.which != Row::Token::largest; begin += npr::sample::chunk_entries) {
      const auto from = x.begin() + static_cast<ptrdiff_t>(begin);
      const auto to = x.begin() + static_cast<ptrdiff_t>(std::min(x.size(), begin + npr::sample::chunk_entries));
      const float max = *std::max_element(from, to);
      float sums[16] = {};
      for (auto at = from; at != to; ++at) sums[(at - from) % 16] += weigh(*at, max, row.scale);
      out.total += add(sums) * double{weigh(max, out.max, row.scale)};
    }
    if (row.which == Row::Token::drawn) {
      double sum = 0;
      for (size_t t = 0; t < x.size() && sum <= row.uniform * out.total; ++t) {
        const float weight = weigh(x[t], out.max, row.scale);
        if (weight > 0) out.token = static_cast<int32_t>(t);
        sum += double{weight};
      }
    }
    out.logit = x[static_cast<size_t>(out.token)];
    return out;
  }
};

// A backend whose logits the host must not look at where it need not.
class FarBackend : public npr::compute::Backend {
  using Matrix = npr::compute::Matrix;
  using Slot = npr::compute::Slot;
  using bf16 = npr::compute::bf16;

 public:
  FarBackend(std::unique_ptr<Backend> inner, PlainPolicies& policies) : inner_(std::move(inner)), policies_(policies) {}

  npr::compute::Policies* policies() override { return &policies_; }

  std::string description() const override { return inner_->description(); }
  std::unique_ptr<Matrix> pack(std::span<const npr::compute::HostRows> parts, uint32_t k) override {
    return inner_->pack(parts, k);
  }
  void update(Matrix& matrix, const float* rows) override { inner_->update(matrix, rows); }
  float* floats(size_t count) override { return inner_->floats(count); }
  bf16* bf16s(size_t count) override { return inner_->bf16s(count); }
  std::shared_ptr<void> allocate(size_t bytes) override { return inner_->allocate(bytes); }
  void upload(float* device, std::span<const float> host) override { inner_->upload(device, host); }
  void download(const float* device, std::span<float> host) override { inner_->download(device, host); }
  void allocate_kv(const npr::compute::KvShape& shape, uint32_t slots, uint32_t q_heads,
                   const npr::compute::Rope& rope) override {
    inner_->allocate_kv(shape, slots, q_heads, rope);
  }
  void begin(std::span<const int32_t> positions, std::span<const Slot> slots,
             std::span<const npr::compute::Sequence> sequences) override {
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
  void parallel(uint32_t count, const std::function<void(uint32_t)>& task) override { inner_->parallel(count, task); }
  npr::compute::Backward& backward() override { return inner_->backward(); }

 private:
  std::unique_ptr<Backend> inner_;
  PlainPolicies& policies_;
};

}  // namespace test
