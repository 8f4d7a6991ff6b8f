// Forward, every token under its policy, the loss back to the logits, and backward: one micro-batch after another.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "branch/lexicon.h"
#include "model/training_graph.h"
#include "sample/policy_batch.h"
#include "train/loss.h"
#include "train/packing.h"
#include "train/targets.h"

namespace npr::train {

// Sums over the tokens of a pass, in their order.
struct Totals {
  double loss = 0;
  double entropy = 0;                  // over the weighted ones, in nats
  uint64_t weighted = 0, clipped = 0;  // tokens
  float mismatch = 0;                  // largest |logp - logp at sampling|
  double forward_ms = 0, backward_ms = 0;
};

// Thread safety: one thread at a time, which has the model to itself.
class Pass {
 public:
  // All must outlive it. loss, gradients: null for log-probabilities alone.
  Pass(model::Model& model, model::TrainingGraph& graph, const branch::Lexicon& lexicon, const Loss* loss,
       model::GradientSink* gradients);

  void run(const MicroBatch& micro);

  const Totals& totals() const { return totals_; }
  // Of each trajectory so far, each token's log-probability, with the bits that sampling reported; 0 where a request's
  // engine chose the token.
  std::vector<std::vector<float>>& logprobs() { return logprobs_; }

 private:
  struct Outcome;

  bool evaluate(std::span<const Target> targets, std::span<const uint32_t> rows);
  std::vector<uint32_t> order(std::span<const Target> targets);
  void look_here(std::span<const Target> targets, std::span<const uint32_t> order, float* logits,
                 std::span<Outcome> outcomes) const;
  void look(const Target& target, float* logits, Outcome& out) const;
  void look_on_device(std::span<const Target> targets, std::span<const uint32_t> order, const float* logits,
                      std::span<Outcome> outcomes);
  void differentiate_on_device(std::span<const Target> targets, std::span<const uint32_t> order, float* logits,
                               bool replace, std::span<Outcome> outcomes);
  Term term_of(const Target& target, float logprob) const;

  model::Model& model_;
  model::TrainingGraph& graph_;
  const branch::Lexicon& lexicon_;
  const Loss* loss_;
  model::GradientSink* gradients_;
  sample::PolicyBatch policy_batch_;          // of the rows that the backend looks at
  std::vector<compute::PolicyValue> values_;  // of each of them
  Totals totals_;
  std::vector<std::vector<float>> logprobs_;
};

}  // namespace npr::train
