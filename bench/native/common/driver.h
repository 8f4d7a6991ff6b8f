// An engine over a model directory, stepped on the caller's thread by the clock.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "compute/device.h"
#include "schedule/engine.h"

namespace npr::bench {

struct Decode {
  uint64_t tokens = 0;  // over all branches
  double seconds = 0;
  double own = 0;  // tokens that a row sees beside a shared trunk, on average
};

struct Load {
  uint64_t requests = 0, tokens = 0;
  double seconds = 0;
  std::vector<double> latency_ms;  // [requests]
};

// Tokens are random, text is made up: no tokenizer is needed. Sequences never end by themselves.
// Thread safety: one thread at a time.
class Driver {
 public:
  // `slots`: tokens of the KV pool.
  Driver(const std::filesystem::path& model, const compute::DeviceOptions& device, uint32_t max_rows, uint32_t slots);

  const model::Config& config() const { return engine_->config(); }
  std::string description() const { return engine_->description(); }

  // Seconds from a prompt never seen to its first sampled token.
  double prefill(uint32_t tokens);
  // `branches` samples of one prompt of `trunk` tokens, whose keys and values they share as a block's branches do; each
  // adds `tokens` tokens, of which the first is not timed: it comes with the prompt.
  Decode decode(uint32_t branches, uint32_t trunk, uint32_t tokens);
  // As many requests as `sequences`, each with a prompt of its own of `context` tokens: `tokens` - 1 steps in which
  // each of them adds one.
  Decode decode_apart(uint32_t sequences, uint32_t context, uint32_t tokens);
  // Slots that decode_apart() takes.
  static uint64_t slots_apart(uint32_t sequences, uint32_t context, uint32_t tokens, uint32_t max_rows);
  // For about `seconds`, `concurrency` callers each ask for `tokens` greedy tokens after `prompt`, again and again.
  Load closed_loop(const std::vector<int32_t>& prompt, uint32_t tokens, uint32_t concurrency, double seconds);

 private:
  void take(std::vector<Event>&& events);
  // Throws where nothing is left to do: what is waited for would never come.
  void step();
  std::vector<int32_t> random_prompt(uint32_t tokens, uint64_t seed) const;
  RequestId submit(std::vector<int32_t> prompt, uint32_t n, uint32_t tokens, float temperature);

  const uint32_t max_rows_;
  RequestId next_id_ = 1;
  // What the events of the steps so far told.
  uint64_t tokens_ = 0;
  std::vector<double> finished_ms_;  // of requests that finished, since last taken
  std::unique_ptr<schedule::Engine> engine_;
};

}  // namespace npr::bench
