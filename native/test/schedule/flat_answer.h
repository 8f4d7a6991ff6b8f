// One choice in flat order, from its events.
#pragma once
#include <map>
#include <vector>

#include "event.h"

namespace test {

class FlatAnswer {
 public:
  struct Tokens {
    std::vector<int32_t> tokens;
    std::vector<uint8_t> forced;         // [tokens]
    std::vector<float> policy_logprobs;  // [tokens], or empty where they were not asked for
  };

  void take(const npr::Event& event) {
    auto& branch = branches_[event.branch];
    switch (event.type) {
      case npr::Event::Type::delta: {
        auto& own = branch.own;
        own.tokens.insert(own.tokens.end(), event.tokens.begin(), event.tokens.end());
        own.forced.resize(own.tokens.size(), event.forced);
        own.policy_logprobs.insert(own.policy_logprobs.end(), event.policy_logprobs.begin(),
                                   event.policy_logprobs.end());
        return;
      }
      case npr::Event::Type::block_opened:
        branch.blocks.push_back({branch.own.tokens.size(), {}});
        return;
      case npr::Event::Type::branch_created:
        branches_[event.parent].blocks.back().children.push_back(event.branch);
        return;
      default:
        return;
    }
  }
  Tokens flat() const {
    Tokens out;
    if (branches_.contains(0)) append(0, out);
    return out;
  }

 private:
  struct Block {
    size_t fork_at;
    std::vector<uint32_t> children;
  };
  struct Branch {
    Tokens own;
    std::vector<Block> blocks;
  };

  void append(uint32_t id, Tokens& out) const {
    const Branch& branch = branches_.at(id);
    size_t from = 0;
    const auto own = [&](size_t to) {
      const auto add = [&](auto& list, const auto& more) {
        if (more.empty()) return;
        list.insert(list.end(), more.begin() + static_cast<ptrdiff_t>(from), more.begin() + static_cast<ptrdiff_t>(to));
      };
      add(out.tokens, branch.own.tokens);
      add(out.forced, branch.own.forced);
      add(out.policy_logprobs, branch.own.policy_logprobs);
      from = to;
    };
    for (const auto& block : branch.blocks) {
      own(block.fork_at);
      for (const uint32_t child : block.children) append(child, out);
    }
    own(branch.own.tokens.size());
  }

  std::map<uint32_t, Branch> branches_;
};

}  // namespace test
