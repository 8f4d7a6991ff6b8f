// A prompt and an answer with one block, in the parallel format.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "branch/layout.h"
#include "common/tagged_vocabulary.h"
#include "error.h"

namespace npr::bench {

struct BlockAnswer {
  std::vector<int32_t> prompt, answer;
};

// `tokens` in all: a quarter is the prompt, half the branches' steps, each as long as the others, and what is left, but
// for the plans, lies behind the join. Letters are made up.
inline BlockAnswer block_answer(uint32_t vocabulary, uint32_t tokens, uint32_t branches) {
  constexpr uint32_t plan_tokens = 8;  // tags included
  const uint32_t prompt = tokens / 4, step = tokens / 2 / branches;
  if (step < 4 || prompt + 3 + branches * (plan_tokens + step) + 3 > tokens) {
    throw Error(ErrorCode::invalid_request, "--tokens: too few for a prompt and a block of that many branches");
  }
  BlockAnswer out;
  uint32_t made = 0;
  const auto letters = [&](std::vector<int32_t>& to, size_t until) {
    while (to.size() < until) {
      to.push_back(first_letter + static_cast<int32_t>((made++ * 7919u + 13) % (vocabulary - first_letter)));
    }
  };
  letters(out.prompt, prompt - 1);
  out.prompt.push_back(head);
  auto& answer = out.answer;
  answer.push_back(guideline);
  for (uint32_t b = 0; b < branches; ++b) {
    const size_t end = answer.size() + plan_tokens;
    answer.push_back(plan);
    letters(answer, end - 1);
    answer.push_back(plan_end);
  }
  answer.insert(answer.end(), {guideline_end, newline});
  for (uint32_t b = 0; b < branches; ++b) {
    const size_t end = answer.size() + step;
    answer.push_back(step_tag);
    letters(answer, end - 2);
    answer.insert(answer.end(), {step_end, newline});
  }
  answer.push_back(takeaway);
  letters(answer, tokens - prompt - 1);
  answer.push_back(takeaway_end);
  return out;
}

// Pairs of a token and one that it sees, itself included.
inline double visible_pairs(const BlockAnswer& sequence, const text::Vocabulary& vocabulary) {
  auto flat = sequence.prompt;
  flat.insert(flat.end(), sequence.answer.begin(), sequence.answer.end());
  double pairs = 0;
  for (const auto& piece : branch::parallel_layout(flat, vocabulary).pieces) {
    const double rows = piece.end - piece.begin;
    double context = 0;
    for (const auto& interval : piece.context) context += interval.end - interval.begin;
    pairs += rows * context + rows * (rows + 1) / 2;
  }
  return pairs;
}

}  // namespace npr::bench
