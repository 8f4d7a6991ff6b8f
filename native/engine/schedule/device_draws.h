// Tokens drawn where the logits lie, by a backend that keeps them there, with the bits of sample::sample().
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "compute/policy.h"
#include "sample/policy_batch.h"
#include "sample/sampler.h"
#include "schedule/device_lists.h"
#include "schedule/device_scores.h"

namespace npr::schedule {

// Thread safety: one thread at a time.
class DeviceDraws {
 public:
  struct Outcome {
    enum class Kind : uint8_t { drawn, impossible, left } kind = Kind::left;  // left: to the host after all
    sample::Sampled sampled;
  };

  void clear();
  // The row at `at` of the logits, with its edits; its params outlive run().
  void add(const sample::Row& row, uint32_t at, const sample::PolicyBatch::Edits& edits);
  // outcomes[i]: of the i-th row added. The backend has policies.
  void run(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes);

 private:
  // By the index of their outcomes.
  struct Reported {
    uint32_t index, at, top;
  };
  struct Truncated {
    uint32_t row;  // of batch_
    const sample::Params* params;
  };
  struct Restricted {
    uint32_t index;
    const sample::Params* params;
    uint32_t picks_begin, picks_end;
  };

  void draw_looked(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes);
  void draw_truncated(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes);
  void draw_restricted(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes);
  void report(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes);

  uint32_t count_ = 0;
  // All tokens may come, or what truncation leaves.
  sample::PolicyBatch batch_;
  std::vector<uint32_t> index_;  // of each row's outcome
  std::vector<compute::PolicyValue> values_;
  std::vector<Truncated> truncated_;
  DeviceLists lists_;
  // A mask says which may come.
  sample::PolicyBatch restricted_batch_;
  std::vector<Restricted> restricted_;
  std::vector<int32_t> ids_;
  std::vector<compute::LogitPick> picks_;
  std::vector<float> picked_;
  // Whose raw log-probabilities are wanted.
  std::vector<Reported> reported_;
  DeviceScores scores_;
  std::vector<DeviceScores::Outcome> scored_;
};

}  // namespace npr::schedule
