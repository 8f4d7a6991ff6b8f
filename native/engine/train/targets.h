// What a micro-batch is evaluated for: its tokens, one after another.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "branch/lexicon.h"
#include "model/config.h"
#include "sample/row.h"
#include "train/packing.h"
#include "train/replay.h"

namespace npr::train {

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

// Goes through a micro-batch, replaying its trajectories. Thread safety: one thread at a time.
class Targets {
 public:
  // All must outlive it. Appends an array of log-probabilities, 0 each, for every trajectory.
  Targets(const MicroBatch& micro, const branch::Lexicon& lexicon, const model::Config& config,
          std::vector<std::vector<float>>& logprobs);

  // Fills `out` and returns the row that predicts it; none at the end.
  std::optional<uint32_t> next(Target& out);

 private:
  std::optional<uint32_t> next_of_all(const Prepared& prepared, Target& out);
  std::optional<uint32_t> next_sampled(const Prepared& prepared, Target& out);

  const branch::Lexicon& lexicon_;
  const uint32_t vocab_, max_positions_;
  std::vector<Placed>::const_iterator at_, end_;
  std::vector<std::vector<float>>::iterator logprobs_;
  uint32_t token_ = 0;            // of a trajectory without a request: the next one
  std::optional<Replay> replay_;  // of one with a request
};

}  // namespace npr::train
