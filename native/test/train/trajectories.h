// Trajectories that a random policy wrote, as training gets them.
#pragma once
#include <vector>

#include "branch/choice_audit.h"
#include "branch/choice_run.h"
#include "train/group.h"

namespace test {

// Of the tokens in flat order, those that were forced.
inline void collect_forced(const Run& run, const Branch& branch, std::vector<uint8_t>& out) {
  const auto& forced = run.told(branch).forced;
  uint32_t own = 0;
  const auto put_until = [&](size_t end) {
    for (; own < end; ++own) out.push_back(forced[own]);
  };
  for (const auto& block : branch.blocks) {
    put_until(block->fork_at);
    for (const auto& child : block->branches) collect_forced(run, *child, out);
  }
  put_until(forced.size());
}

inline npr::train::Trajectory trajectory_of(const Run& run, const Flat& flat) {
  npr::train::Trajectory out;
  const auto prompt = run.task().request.prompt.size();
  out.tokens.assign(flat.tokens.begin() + static_cast<ptrdiff_t>(prompt), flat.tokens.end());
  collect_forced(run, run.choice().trunk(), out.forced);
  for (const uint8_t forced : out.forced) out.weights.push_back(forced ? 0 : 1);
  return out;
}

inline npr::model::Config small_config(uint32_t max_positions) {
  npr::model::Config config;
  config.vocab_size = words;
  config.max_position_embeddings = max_positions;
  return config;
}

inline npr::train::Group group_of(const Run& run, npr::train::Trajectory trajectory) {
  npr::train::Group group;
  group.prompt = run.task().request.prompt;
  group.request = run.task().request;
  group.trajectories.push_back(std::move(trajectory));
  return group;
}

}  // namespace test
