#include "branch/branch.h"

#include "branch/lexicon.h"

namespace npr::branch {

void Guideline::close_plan(const Lexicon& lexicon) {
  spaces = 0;
  heads += lexicon.head_tokens(plan_number(plans.back(), static_cast<uint32_t>(plans.size())));
}

Guideline read_guideline(const Lexicon& lexicon, std::span<const int32_t> tokens, uint32_t at) {
  Guideline guideline;
  bool in_plan = false;
  for (const int32_t token : tokens.subspan(at + 1)) {
    const Tag tag = lexicon.tag(token);
    if (tag == Tag::plan) {
      in_plan = true;
      guideline.plans.emplace_back();
      guideline.spaces = 0;
    } else if (tag == Tag::plan_end) {
      in_plan = false;
      guideline.close_plan(lexicon);
    } else if (in_plan) {
      guideline.plans.back() += lexicon.vocabulary().token(token);
    } else {
      ++guideline.spaces;
    }
  }
  return guideline;
}

uint32_t total_tokens(const Branch& branch) {
  auto total = static_cast<uint32_t>(branch.tokens.size());
  for (const auto& block : branch.blocks) {
    for (const auto& child : block->branches) total += total_tokens(*child);
  }
  return total;
}

}  // namespace npr::branch
