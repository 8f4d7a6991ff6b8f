// compute/policy.h step by step, and a CPU's backend that has its logits looked at so.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "compute/forwarding_backend.h"
#include "compute/policy.h"
#include "sample/penalties.h"
#include "sample/softmax_kernels.h"

namespace test {

class PlainPolicies : public npr::compute::Policies {
  using Row = npr::compute::PolicyRow;
  using Edits = std::span<const npr::compute::LogitEdit>;

 public:
  uint64_t looked = 0, listed = 0;  // rows
  uint64_t gathered = 0;            // entries
  uint64_t refuses = 0;             // to list each so many-th row; 0: none

  void look(const float* logits, uint32_t vocab, std::span<const Row> rows, Edits edits,
            std::span<npr::compute::PolicyValue> values) override {
    looked += rows.size();
    for (size_t i = 0; i < rows.size(); ++i) values[i] = look(edited(logits, vocab, rows[i], edits), rows[i]);
  }

  void group_maxima(const float* logits, uint32_t vocab, std::span<const Row> rows, Edits edits,
                    std::span<float> maxima) override {
    auto out = maxima.begin();
    for (const Row& row : rows) {
      const auto x = edited(logits, vocab, row, edits);
      for (size_t begin = 0; begin < vocab; begin += npr::compute::group_entries) {
        const size_t end = std::min<size_t>(vocab, begin + npr::compute::group_entries);
        *out++ = *std::max_element(x.begin() + static_cast<ptrdiff_t>(begin), x.begin() + static_cast<ptrdiff_t>(end));
      }
    }
  }

  void collect(const float* logits, uint32_t vocab, std::span<const Row> rows, Edits edits,
               std::span<const float> thresholds, uint32_t most, std::span<uint32_t> counts,
               std::span<npr::compute::LogitEntry> entries) override {
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto x = edited(logits, vocab, rows[i], edits);
      counts[i] = 0;
      for (size_t t = 0; t < vocab; ++t) {
        if (!std::isfinite(x[t]) || x[t] < thresholds[i]) continue;
        if (counts[i] < most) entries[i * most + counts[i]] = {static_cast<int32_t>(t), x[t]};
        ++counts[i];
      }
      if (refuses && ++listed % refuses == 0) counts[i] = most + 1;
    }
  }

  void gather(const float* logits, uint32_t vocab, std::span<const Row> rows, Edits edits,
              std::span<const npr::compute::LogitPick> picks, std::span<float> logits_of) override {
    for (size_t i = 0; i < picks.size(); ++i) {
      logits_of[i] = edited(logits, vocab, rows[picks[i].row], edits)[static_cast<size_t>(picks[i].token)];
    }
    gathered += picks.size();
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
    uint32_t e = row.edits_begin;
    for (uint32_t turn = 0; turn < npr::compute::edit_turns; ++turn) {
      for (; e < row.edits_end[turn]; ++e) {
        float& each = x[static_cast<size_t>(edits[e].token)];
        each = turn < npr::compute::multiplying_turns ? npr::sample::repeated(each, edits[e].value)
                                                      : each + edits[e].value;
      }
    }
    for (float& each : x) each = std::isfinite(each) ? each : -std::numeric_limits<float>::infinity();
    return x;
  }

  // The chunk whose mass exceeds what is left, then the token in it, in the chunk's own unit.
  template <class Chunks>
  static int32_t draw(const std::vector<float>& x, const Chunks& chunks, const Row& row) {
    double total = 0, sum = 0, before = 0;
    for (const auto& chunk : chunks) total += chunk.mass;
    const double target = row.uniform * total;
    const auto* chosen = &chunks.front();
    for (const auto& chunk : chunks) {
      if (chunk.mass == 0) continue;
      chosen = &chunk;
      before = sum;
      sum += chunk.mass;
      if (sum > target) break;
    }
    size_t token = chosen->begin;
    sum = 0;
    for (size_t t = chosen->begin; t < chosen->end && sum <= (target - before) / chosen->unit; ++t) {
      const float weight = weigh(x[t], chosen->max, row.scale);
      if (weight > 0) token = t;
      sum += double{weight};
    }
    return static_cast<int32_t>(token);
  }

  static npr::compute::PolicyValue look(const std::vector<float>& x, const Row& row) {
    const auto largest = std::max_element(x.begin(), x.end());
    npr::compute::PolicyValue out{row.token, 0, *largest, 0};
    if (!std::isfinite(out.max)) return out;
    if (row.which == Row::Token::largest) out.token = static_cast<int32_t>(largest - x.begin());
    struct Chunk {
      size_t begin, end;
      float max;
      double unit, mass;
    };
    std::vector<Chunk> chunks;
    for (size_t begin = 0; begin < x.size() && row.which != Row::Token::largest; begin += npr::sample::chunk_entries) {
      const size_t end = std::min<size_t>(x.size(), begin + npr::sample::chunk_entries);
      const float max =
          *std::max_element(x.begin() + static_cast<ptrdiff_t>(begin), x.begin() + static_cast<ptrdiff_t>(end));
      float sums[16] = {};
      for (size_t t = begin; t < end; ++t) sums[(t - begin) % 16] += weigh(x[t], max, row.scale);
      const double unit{weigh(max, out.max, row.scale)};
      chunks.push_back({begin, end, max, unit, add(sums) * unit});
      out.total += chunks.back().mass;
    }
    if (row.which == Row::Token::drawn) out.token = draw(x, chunks, row);
    out.logit = x[static_cast<size_t>(out.token)];
    return out;
  }
};

// A backend whose logits the host looks at.
class HostBackend : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  npr::compute::Policies* policies() override { return nullptr; }
};

// A backend whose logits the host must not look at where it need not.
class FarBackend : public ForwardingBackend {
 public:
  FarBackend(std::unique_ptr<Backend> inner, PlainPolicies& policies)
      : ForwardingBackend(std::move(inner)), policies_(policies) {}
  npr::compute::Policies* policies() override { return &policies_; }
  // What was asked for and no more, as a copy from a GPU is: behind it nothing is a number.
  std::span<const float> host(const float* device, size_t count) override {
    const auto seen = ForwardingBackend::host(device, count);
    copy_.assign(count + 4096, std::numeric_limits<float>::quiet_NaN());
    std::copy(seen.begin(), seen.end(), copy_.begin());
    return {copy_.data(), count};
  }

 private:
  PlainPolicies& policies_;
  std::vector<float> copy_;
};

}  // namespace test
