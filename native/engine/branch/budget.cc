#include "branch/budget.h"

#include <algorithm>

namespace npr::branch {

namespace {
uint32_t newline(const Lexicon& lexicon) { return static_cast<uint32_t>(lexicon.newline().size()); }
}  // namespace

uint32_t forced_tokens(const Lexicon& lexicon, uint32_t branches, uint32_t heads) {
  const uint32_t nl = newline(lexicon);
  return nl + heads + branches * (1 + nl) + 1 + nl;  // separator; heads; </step>, newline; <takeaway>, newline
}

uint32_t share(const Lexicon& lexicon, std::span<const std::string> numbers, uint32_t left,
               uint32_t max_branch_tokens) {
  const auto branches = static_cast<uint32_t>(numbers.size());
  uint32_t heads = 0;
  for (const auto& number : numbers) heads += lexicon.head_tokens(number);
  const uint32_t reserved = forced_tokens(lexicon, branches, heads) + 1;
  if (left <= reserved) return 0;
  const uint32_t each = (left - reserved) / branches;
  return max_branch_tokens ? std::min(each, max_branch_tokens) : each;
}

uint32_t closing_positions(const Lexicon& lexicon) { return 1 + 1 + newline(lexicon) + 1; }

uint32_t room(const Branch& branch) {
  const int32_t positions = std::max(0, branch.position_limit - branch.next_position);
  return std::min(branch.left, static_cast<uint32_t>(positions));
}

uint32_t guideline_cost(const Lexicon& lexicon, const Branch& branch) {
  const auto& plans = branch.guideline.plans;
  const auto branches = static_cast<uint32_t>(plans.size());
  const bool open = branch.machine.state() == State::plan;
  const uint32_t to_fork = open ? 2 : 1;  // </plan>, </guideline>
  uint32_t heads = branch.guideline.heads;
  if (open) heads += lexicon.head_tokens(plan_number(plans.back(), branches));
  return to_fork + forced_tokens(lexicon, branches, heads) + branches + 1;
}

uint32_t number_cost(const Lexicon& lexicon, const Branch& branch) {
  const auto& plans = branch.guideline.plans;
  if (!may_become_number(plans.back())) return 0;
  const uint32_t number = lexicon.number_tokens(plans.back()) + lexicon.longest_number_end();
  return number - std::min(number, lexicon.number_tokens(std::to_string(plans.size())));
}

uint32_t plan_cost(const Lexicon& lexicon, const Branch& branch) {
  const auto ordinal = std::to_string(branch.guideline.plans.size() + 1);
  // <plan>, a token of text, </plan>; then its branch: head, a token, </step>, newline.
  return 3 + lexicon.head_tokens(ordinal) + 2 + newline(lexicon);
}

uint32_t smallest_block(const Lexicon& lexicon) {
  return 1 + 3 + 1 + forced_tokens(lexicon, 1, lexicon.head_tokens("1")) + 1 + 1;
}

std::vector<std::string> plan_numbers(std::span<const std::string> plans) {
  std::vector<std::string> numbers;
  for (uint32_t i = 0; i < plans.size(); ++i) numbers.push_back(plan_number(plans[i], i + 1));
  return numbers;
}

}  // namespace npr::branch
