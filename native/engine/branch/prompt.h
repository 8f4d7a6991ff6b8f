// A prompt read by its request's terms: where its choices start.
#pragma once
#include "branch/choice.h"
#include "branch/layout.h"
#include "branch/lexicon.h"
#include "request.h"
#include "sample/histogram.h"

namespace npr::branch {

struct Prompt {
  Layout layout;
  Start start;
  sample::Histogram counts;  // for the penalties; empty where none needs it
};

// max_positions: the model's. Throws Error: context_length where no room is left for a response, invalid_request where
// none can begin.
Prompt read_prompt(const Request& request, const Lexicon& lexicon, uint32_t max_positions);

}  // namespace npr::branch
