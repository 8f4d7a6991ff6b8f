#include "branch/budget.h"

#include <algorithm>

namespace npr::branch {

namespace {
uint32_t newline(const Lexicon& lexicon) { return static_cast<uint32_t>(lexicon.newline().size()); }
uint32_t head(const Lexicon& lexicon, std::string_view number) {
  return static_cast<uint32_t>(lexicon.head(number).size());
}
}  // namespace

uint32_t forced_tokens(const Lexicon& lexicon, std::span<const std::string> numbers) {
  const uint32_t nl = newline(lexicon);
  uint32_t total = nl + 1 + nl;  // separator; <takeaway>, newline
  for (const auto& number : numbers) total += head(lexicon, number) + 1 + nl;
  return total;
}

uint32_t share(const Lexicon& lexicon, std::span<const std::string> numbers, uint32_t left,
               uint32_t max_branch_tokens) {
  const uint32_t reserved = forced_tokens(lexicon, numbers) + 1;
  if (left <= reserved) return 0;
  const uint32_t each = (left - reserved) / static_cast<uint32_t>(numbers.size());
  return max_branch_tokens ? std::min(each, max_branch_tokens) : each;
}

uint32_t closing_positions(const Lexicon& lexicon) { return 1 + 1 + newline(lexicon) + 1; }

uint32_t room(const Branch& branch) {
  const int32_t positions = std::max(0, branch.position_limit - branch.next_position);
  return std::min(branch.left, static_cast<uint32_t>(positions));
}

uint32_t guideline_cost(const Lexicon& lexicon, const Branch& branch) {
  const auto numbers = plan_numbers(branch.guideline.plans);
  const uint32_t to_fork = branch.machine.state() == State::plan ? 2 : 1;  // </plan>, </guideline>
  return to_fork + forced_tokens(lexicon, numbers) + static_cast<uint32_t>(numbers.size()) + 1;
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
  return 3 + head(lexicon, ordinal) + 2 + newline(lexicon);
}

uint32_t smallest_block(const Lexicon& lexicon) {
  const std::string number = "1";
  return 1 + 3 + 1 + forced_tokens(lexicon, {&number, 1}) + 1 + 1;
}

std::vector<std::string> plan_numbers(std::span<const std::string> plans) {
  std::vector<std::string> numbers;
  for (uint32_t i = 0; i < plans.size(); ++i) numbers.push_back(plan_number(plans[i], i + 1));
  return numbers;
}

}  // namespace npr::branch
