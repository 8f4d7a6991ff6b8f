// Forward, every token under its policy, the loss back to the logits, and backward: one micro-batch after another.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "branch/lexicon.h"
#include "model/training_graph.h"
#include "sample/row.h"
#include "train/loss.h"
#include "train/packing.h"

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
  // A token to be evaluated, and what it was drawn with.
  struct Target {
    const Trajectory* trajectory;
    uint32_t token;                    // its index
    float* logprob;                    // where it goes
    std::optional<sample::Row> drawn;  // its logits to come; none of a token without a request
    // What `drawn` refers to, as it was then; empty where no penalty counts tokens.
    std::vector<sample::Histogram> layers;
    std::vector<const sample::Histogram*> response;
    sample::Histogram own;
  };
  struct Outcome;
  class Targets;

  bool evaluate(std::span<const Target> targets, std::span<const uint32_t> rows);
  void look(const Target& target, float* logits, Outcome& out) const;

  model::Model& model_;
  model::TrainingGraph& graph_;
  const branch::Lexicon& lexicon_;
  const Loss* loss_;
  model::GradientSink* gradients_;
  Totals totals_;
  std::vector<std::vector<float>> logprobs_;
};

}  // namespace npr::train
