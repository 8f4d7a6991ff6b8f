// A vocabulary for random models that has the tokens of the parallel format.
#pragma once
#include <cstdint>

#include "common/made_up_vocabulary.h"

namespace npr::bench {

enum Word : int32_t {
  guideline = 1,
  guideline_end,
  plan,
  plan_end,
  step_tag,
  step_end,
  takeaway,
  takeaway_end,
  head,  // opens a turn
  turn_end,
  newline,
  colon,
  dot,
  digits,
  first_letter = digits + 10,
};

// Every other token is the letter x.
inline text::Vocabulary tagged_vocabulary(uint32_t size) {
  auto out = made_up_vocabulary(size);
  out.tags = text::Tags{guideline, guideline_end, plan, plan_end, step_tag, step_end, takeaway, takeaway_end};
  out.turn_head = {head};
  out.turn_end = turn_end;
  out.newline = {newline};
  out.colon = {colon};
  out.dot = {dot};
  for (int32_t i = 0; i < 10; ++i) out.digits[static_cast<size_t>(i)] = {digits + i};
  return out;
}

}  // namespace npr::bench
