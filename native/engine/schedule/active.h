// A request that the engine works on: its prompt, its choices, and the slots that they hold.
#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "branch/choice.h"
#include "branch/prompt.h"
#include "error.h"
#include "kv/radix_tree.h"
#include "request.h"

namespace npr::schedule {

using Clock = std::chrono::steady_clock;

// Thread safety: the scheduler's thread owns it.
struct Active {
  Request request;
  uint64_t arrival = 0;  // rank by age: the youngest is preempted first
  branch::Prompt prompt;
  std::vector<kv::Key> keys;  // [prompt]
  std::vector<std::unique_ptr<branch::Choice>> choices;

  // Keys and values of the prompt: tokens [0, slots.size()) are computed.
  std::vector<compute::Slot> slots;
  uint32_t owned = 0;  // leading slots that belong to the prefix cache, held through `held`
  kv::RadixTree::Node* held = nullptr;
  compute::Path path;  // of the whole prompt, once it is computed
  bool prompt_done = false;
  bool recomputing = false;  // resumed after a preemption and not yet where it was

  bool started = false;
  std::vector<bool> released;  // [choices] its slots are given up
  std::optional<Error> fault;  // what the request will fail with at the end of the step
  uint32_t scored = 1;         // prompt tokens before this one are scored; the first has no predecessor
  uint32_t cached_tokens = 0;
  uint32_t preemptions = 0;
  Clock::time_point submitted, admitted, first_token;

  uint32_t prompt_tokens() const { return static_cast<uint32_t>(request.prompt.size()); }
  // Some prompt token is still to be scored.
  bool scores_prompt() const { return request.prompt_logprobs >= 0 && scored < prompt_tokens(); }
  bool finished() const;
  // Tokens that are known and not computed, whatever is needed of them first.
  uint32_t pending() const;
};

// Own tokens of a branch, and of everything inside, that are not computed.
uint32_t pending(const branch::Branch& branch);

}  // namespace npr::schedule
