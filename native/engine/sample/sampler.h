// Draws one token from one row of logits.
#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "sample/histogram.h"
#include "sample/logit_row.h"
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

struct Sampled {
  int32_t token = 0;
  float logprob = 0;         // log-softmax of the raw logits, where asked for
  float policy_logprob = 0;  // under the distribution sampled from; 0 for greedy
  std::vector<std::pair<int32_t, float>>
      top;  // raw, falling; among equals lower ids first; fewer where fewer are finite
};

// Buffers of one thread.
struct Scratch {
  LogitRow raw, processed;
  Candidates candidates;
  std::vector<int32_t> ids;
  std::vector<const Histogram*> layers;  // for callers that have to gather Row::response
};

// In order: repetition, branch repetition, presence and frequency penalties; logit_bias; mask; temperature; top_k;
// top_p over what top_k left; min_p relative to the most probable; then the inverse of the cumulative distribution in
// order of ids. Repetition penalties divide positive logits and multiply negative ones, each distinct token once.
// Temperature 0 takes the largest processed logit, the lowest id among equals.
// Throws Error(internal) where no token that the mask allows has a finite logit.
// Thread safety: pure but for `scratch`.
Sampled sample(const Row& row, Scratch& scratch);

struct Score {
  float logprob = 0;  // log-softmax; -inf where the logit is not finite
  std::vector<std::pair<int32_t, float>> top;
};

// Scores a given token (of a prompt, or forced) with its `top` alternatives. Throws as sample() does.
Score score(const float* logits, uint32_t vocab, int32_t token, uint32_t top, Scratch& scratch);

}  // namespace npr::sample
