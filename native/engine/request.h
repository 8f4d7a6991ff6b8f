// A request as the engine takes it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "sample/params.h"

namespace npr {

enum class OnInvalid { constrain, stop, ignore };

struct ParallelOptions {
  bool enabled = false;
  uint32_t max_branches = 16;
  uint32_t max_depth = 2;
  uint32_t max_branch_tokens = 0;  // 0: no limit of its own
  OnInvalid on_invalid = OnInvalid::constrain;
};

using RequestId = uint64_t;

struct Request {
  RequestId id = 0;  // the caller's, unique among live ones
  std::vector<int32_t> prompt;
  uint32_t n = 1;           // samples, all of one prompt
  uint32_t max_tokens = 0;  // of each sample, over all its branches; 0 only scores the prompt
  uint32_t min_tokens = 0;  // the trunk's end of sequence and stop tokens are masked before
  bool ignore_eos = false;
  std::vector<std::string> stop;        // match trunk text outside blocks
  std::vector<int32_t> stop_token_ids;  // likewise
  int32_t logprobs = -1;                // -1: none; else how many top alternatives beside each sampled token
  int32_t prompt_logprobs = -1;         // likewise for every prompt token
  bool policy_logprobs = false;         // of every token, under the distribution that it was sampled from
  sample::Params sampling;
  ParallelOptions parallel;
};

}  // namespace npr
