#include "schedule/active.h"

#include <algorithm>

namespace npr::schedule {

uint32_t pending(const branch::Branch& branch) {
  auto count = static_cast<uint32_t>(branch.tokens.size() - branch.slots.size());
  for (size_t i = branch.merged; i < branch.blocks.size(); ++i) {
    for (const auto& child : branch.blocks[i]->branches) count += pending(*child);
  }
  return count;
}

bool Active::finished() const {
  return std::ranges::all_of(choices, [](const auto& choice) { return choice->finished(); });
}

uint32_t Active::pending() const {
  if (!prompt_done) return prompt_tokens() - static_cast<uint32_t>(slots.size());
  uint32_t count = 0;
  for (const auto& choice : choices) {
    if (!choice->finished()) count += schedule::pending(choice->trunk());
  }
  return count;
}

}  // namespace npr::schedule
