// Trains the weights that an engine serves, with the engine's own kernels, over its own KV pool.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "model/training_graph.h"
#include "schedule/engine.h"
#include "train/group.h"
#include "train/loss.h"
#include "train/optimizer.h"
#include "train/parameter_store.h"

namespace npr::train {

struct TrainerOptions {
  OptimizerOptions optimizer;
  std::optional<LoraOptions> lora;  // none: every weight is trained
  uint32_t micro_batch_tokens = 0;  // rows of one forward and backward, at most, but for a longer trajectory
  model::Recompute recompute = model::Recompute::none;
};

struct PassResult {
  double loss = 0;
  uint64_t tokens = 0;                       // those of a weight other than 0
  uint64_t rows = 0, saved_rows = 0;         // computed; of prompts, shared instead of computed again
  double entropy = 0;                        // in nats, mean over weighted tokens; 0 where there are none
  double clipped = 0;                        // fraction of weighted tokens
  float mismatch = 0;                        // largest |logp - logp at sampling| over sampled tokens
  std::vector<std::vector<float>> logprobs;  // of each trajectory, [tokens]; 0 where a request's engine chose the token
  double forward_ms = 0, backward_ms = 0;
};

struct StepResult {
  StepReport report;
  double update_ms;
};

// Every call needs the engine idle, and throws Error(invalid_request) where it has requests; those that come during a
// call wait for its end. The prefix cache is dropped.
// Thread safety: one thread at a time, any one.
class Trainer {
 public:
  // Throws Error(invalid_request) where an option makes no sense or the weights can't be trained,
  // Error(out_of_memory). The engine lives at least as long.
  Trainer(std::shared_ptr<schedule::Engine> engine, const TrainerOptions& options);

  // Forward and backward; gradients add up until step(). Before anything is computed, throws Error: invalid_request,
  // context_length where something is wrong with a trajectory, it does not follow from its request, or is longer than
  // the KV pool. An error later on forgets the gradients.
  PassResult accumulate(std::span<const Group> groups, const Loss& loss);
  // Log-probabilities alone.
  PassResult score(std::span<const Group> groups);
  StepResult step(double learning_rate);
  // Hugging Face safetensors in an existing directory: bf16, LoRA merged.
  void save_weights(const std::filesystem::path& directory);
  void save_state(const std::filesystem::path& file);
  void load_state(const std::filesystem::path& file);

 private:
  PassResult pass(std::span<const Group> groups, const Loss* loss);

  const std::shared_ptr<schedule::Engine> engine_;
  const uint32_t micro_batch_tokens_;
  std::unique_ptr<model::TrainingGraph> graph_;
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<Optimizer> optimizer_;
};

}  // namespace npr::train
