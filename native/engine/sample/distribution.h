// The distribution that a row's token is sampled from: penalties, mask, temperature and truncation applied.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "sample/candidates.h"
#include "sample/logit_row.h"
#include "sample/row.h"

namespace npr::sample {

// Buffers of one thread.
struct Scratch {
  LogitRow raw, processed;
  Candidates candidates;
  std::vector<int32_t> ids;
  std::vector<std::pair<int32_t, float>> slopes;
  std::vector<const Histogram*> layers;  // for callers that have to gather Row::response
};

// In order: repetition, branch repetition, presence and frequency penalties; logit_bias; mask; temperature; top_k;
// top_p over what top_k left; min_p relative to the most probable. Repetition penalties divide positive logits and
// multiply negative ones, each distinct token once.
// A view of the scratch that it was made with, until that is used again. Thread safety: as the scratch.
class Distribution {
 public:
  // Throws Error(internal) where no token that the mask allows has a finite logit.
  static Distribution of(const Row& row, Scratch& scratch);
  // Of temperature 0: the largest processed logit, the lowest id among equals. Throws likewise.
  static int32_t greedy(const Row& row, Scratch& scratch);
  // Softmax of the raw logits [vocab]. Throws Error(internal) where none is finite.
  static Distribution raw(const float* logits, uint32_t vocab, Scratch& scratch);

  // The inverse of the cumulative distribution in order of ids, at `uniform` in [0, 1).
  int32_t pick(double uniform) const;
  // Natural logarithm of a token's probability; -inf where the token can't come.
  float logprob(int32_t token) const;
  // In nats.
  double entropy() const { return pass(0, nullptr); }
  // gradient [vocab] = coefficient * d logprob(token) / d processed logits, with the tokens that may come held fixed.
  // It may be the very row that the distribution was made from: nothing but the result may be used then. Returns the
  // entropy, which costs nothing more.
  double differentiate(int32_t token, float coefficient, float* gradient) const;

 private:
  // Listed: the tokens that may come are scratch.candidates; else all of `logits` that are finite.
  Distribution(LogitRow& logits, Candidates& candidates) : logits_(&logits), candidates_(&candidates) {}

  bool holds(int32_t token) const;
  // Returns the entropy; gradient [vocab] = factor * weights, unless it is null.
  double pass(float factor, float* gradient) const;

  LogitRow* logits_;
  Candidates* candidates_;
  bool listed_ = false;
  float max_ = 0, scale_ = 1;
  double total_ = 0;  // of the weights exp((logit - max) * scale)
};

}  // namespace npr::sample
