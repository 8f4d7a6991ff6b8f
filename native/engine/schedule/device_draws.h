// Tokens drawn where the logits lie, by a backend that keeps them there, with the bits of sample::sample().
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "compute/policy.h"
#include "sample/policy_batch.h"
#include "sample/sampler.h"

namespace npr::schedule {

// Thread safety: one thread at a time.
class DeviceDraws {
 public:
  struct Outcome {
    enum class Kind : uint8_t { drawn, impossible, left } kind = Kind::left;  // left: to the host after all
    sample::Sampled sampled;
  };

  void clear();
  // The row at `at` of the logits; its views outlive run(). False, and nothing is added, where the host has to draw.
  bool add(const sample::Row& row, uint32_t at);
  // outcomes[i]: of the i-th row added. The backend has policies.
  void run(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes);

 private:
  struct Truncated {
    uint32_t index;  // in batch_.rows()
    const sample::Params* params;
  };

  void run_truncated(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes);

  sample::PolicyBatch batch_;
  std::vector<Truncated> truncated_;
  std::vector<compute::PolicyValue> values_;
  // Of those that truncate.
  std::vector<compute::PolicyRow> rows_;
  std::vector<float> maxima_, thresholds_;  // [those with top_k, groups], [all]
  std::vector<uint32_t> counts_;
  std::vector<compute::LogitEntry> entries_;  // [rows, most_listed]
};

}  // namespace npr::schedule
