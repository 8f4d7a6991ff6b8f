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
  // Of rows added, by their index.
  struct Truncated {
    uint32_t index;
    const sample::Params* params;
  };
  struct Reported {
    uint32_t index, top;
  };

  void draw_truncated(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes);
  void report(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes);

  sample::PolicyBatch batch_;
  std::vector<compute::PolicyValue> values_;
  std::vector<Truncated> truncated_;
  DeviceLists lists_;
  std::vector<Reported> reported_;  // whose raw log-probabilities are wanted
  DeviceScores scores_;
  std::vector<DeviceScores::Outcome> scored_;
};

}  // namespace npr::schedule
