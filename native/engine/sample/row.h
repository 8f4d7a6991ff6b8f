// A row of logits, and what the token sampled from it depends on.
#pragma once
#include <cstdint>
#include <span>

#include "sample/histogram.h"
#include "sample/params.h"
#include "sample/philox.h"
#include "sample/token_mask.h"

namespace npr::sample {

// What one draw depends on, and nothing else does: views that must outlive the call.
struct Row {
  const float* logits;  // [vocab]
  uint32_t vocab;
  const Params* params;
  Stream stream;
  uint64_t index;  // of this token among the sampled ones of its path
  TokenMask mask = {};
  // Counts for the penalties; looked at only where a penalty is on.
  const Histogram* prompt = nullptr;
  std::span<const Histogram* const> response = {};  // the visible response in layers: trunk, branch, nested branch
  const Histogram* branch_sampled = nullptr;        // what this branch sampled itself; null on the trunk
  int32_t logprobs = -1;                            // alternatives to report; -1: no log-probabilities of raw logits
};

}  // namespace npr::sample
