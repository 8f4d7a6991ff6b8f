// One optimizer step: norm, clip, AdamW, and the engine's weights made anew.
#pragma once
#include <cstdint>

#include "train/adamw.h"
#include "train/parameter_store.h"

namespace npr::train {

struct OptimizerOptions {
  AdamWOptions adamw;
  double clip_norm = 1;  // of all gradients together; 0: no clipping
};

struct StepReport {
  double gradient_norm;  // of all trained numbers, before clipping
  bool applied;          // false: the norm is not finite or past all use, and nothing but the gradients changed
};

// On a CPU, bits depend neither on the thread count nor on the instruction set. Thread safety: one thread at a time; it
// uses the backend inside step().
class Optimizer {
 public:
  // Backend and store must outlive it. Throws Error(invalid_request) where an option makes no sense.
  Optimizer(compute::Backend& backend, ParameterStore& store, const OptimizerOptions& options);

  const OptimizerOptions& options() const { return options_; }
  uint64_t steps() const { return steps_; }  // applied so far
  // Goes on from a store whose masters, moments and engine's weights are those after `steps` steps. Clears gradients.
  void resume(uint64_t steps);

  // Takes the gradients that the store collected, and clears them. Clips as torch.nn.utils.clip_grad_norm_ does: by
  // clip_norm / (norm + 1e-6) where that is below 1. Throws Error(invalid_request) where the learning rate is negative
  // or no float, Error(invalid_checkpoint) where it makes weights that are not finite; they are half of a step then,
  // and every further one throws Error(invalid_request) until resume().
  StepReport step(double learning_rate);
  // Clears the gradients.
  void discard();

 private:
  double gradient_norm() const;

  compute::Backward& ops_;
  ParameterStore& store_;
  const OptimizerOptions options_;
  uint64_t steps_ = 0;
  bool broken_ = false;  // a step was not brought to its end
};

}  // namespace npr::train
