// What the engine answers a request with: events, in the order in which things happened.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "error.h"
#include "request.h"

namespace npr {

enum class Channel : uint8_t { content, block };  // trunk text outside blocks, or part of a block (tags included)
enum class FinishReason : uint8_t { stop, length, invalid_structure, cancelled };
// How a branch ended: it wrote </step>, the sequence ended in it, its share was used up, or its structure was at fault
// under on_invalid: stop.
enum class BranchEnd : uint8_t { step_end, stop, length, invalid_structure };

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;
  std::vector<std::pair<int32_t, float>> top = {};
};

struct Usage {
  uint32_t prompt_tokens = 0, cached_tokens = 0;
  uint32_t completion_tokens = 0;  // all branches, forced ones included
  uint32_t forced_tokens = 0, blocks = 0, branches = 0;
  uint32_t critical_path_tokens = 0;  // the longest chain of tokens that had to wait for each other
};

struct Timings {
  double queue_ms = 0;   // submitted until first admitted
  double prompt_ms = 0;  // admitted until the first token was sampled
  double total_ms = 0;   // submitted until finished
  uint32_t preemptions = 0;
};

struct Event {
  enum class Type : uint8_t {
    started,           // the request runs: usage.prompt_tokens, usage.cached_tokens
    prompt_logprobs,   // logprobs: of prompt tokens [first, first + size)
    delta,             // text and tokens of one branch
    block_opened,      // plans; `branch` is the parent
    branch_created,    // `branch` is new, `parent`, `block`, `index`, `number`
    branch_completed,  // `end`, `count` tokens (head and closing included)
    block_joined,      // `branch` is the parent
    choice_finished,   // `reason`, `usage`
    finished,          // the request is over: usage summed over choices, timings
    failed,            // the request is over: code, message
  };
  Type type;
  RequestId request = 0;
  uint32_t choice = 0;
  uint32_t branch = 0;  // 0: the trunk; others count up as they are created
  uint32_t parent = 0, block = 0, index = 0, count = 0, first = 0;
  bool forced = false;
  Channel channel = Channel::content;
  FinishReason reason = FinishReason::stop;
  int32_t stop_token = -1;   // choice_finished by stop: the token that ended it, if one did
  int32_t stop_string = -1;  // likewise: which of Request::stop
  BranchEnd end = BranchEnd::step_end;
  std::string text = {};  // whole UTF-8 characters; delta, branch number, message
  std::vector<int32_t> tokens = {};
  std::vector<TokenLogprob> logprobs = {};
  std::vector<float> policy_logprobs = {};                      // delta: of each token, where asked for
  std::vector<std::pair<std::string, std::string>> plans = {};  // number, text
  Usage usage = {};
  Timings timings = {};
  ErrorCode code = ErrorCode::internal;
};

}  // namespace npr
