// Raw log-probabilities of given tokens, and the likeliest beside them, found where the logits lie, with the bits of
// sample::score().
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "sample/policy_batch.h"
#include "sample/sampler.h"
#include "schedule/device_lists.h"

namespace npr::schedule {

// Thread safety: one thread at a time.
class DeviceScores {
 public:
  struct Outcome {
    bool scored = false;  // not: it is left to the host after all
    sample::Score score;
  };

  void clear();
  // `token` of the row of logits at `at`, with its `top` alternatives.
  void add(uint32_t at, int32_t token, uint32_t top);
  // outcomes[i]: of the i-th row added. The backend has policies.
  void run(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes);

 private:
  sample::PolicyBatch batch_;
  std::vector<uint32_t> tops_;
  std::vector<compute::PolicyValue> values_;
  DeviceLists lists_;
  std::vector<uint32_t> listed_;  // rows in lists_
};

}  // namespace npr::schedule
