// The tag state machine: which of the eight tags may come, and what each does.
//
// One machine serves a flat sequence read back (a prompt), the trunk and the branches that the engine generates, and
// the sequential mode, whose blocks are only observed.
#pragma once
#include <cstdint>
#include <vector>

#include "text/vocabulary.h"

namespace npr::branch {

enum class Tag : uint8_t { guideline, guideline_end, plan, plan_end, step, step_end, takeaway, takeaway_end, none };

// The tag that a token stands for; none for every other token.
Tag tag_of(const text::Tags& tags, int32_t token);
int32_t token_of(const text::Tags& tags, Tag tag);

// between: after </guideline>, before the first <step>; closed: after a </step>.
enum class State : uint8_t { trunk, guideline, plan, between, step, closed, takeaway };

// Thread safety: a value; no sharing.
class TagMachine {
 public:
  State state() const { return open_.empty() ? State::trunk : open_.back().state; }
  uint32_t depth() const { return static_cast<uint32_t>(open_.size()); }
  // Plans of the innermost open block so far.
  uint32_t plans() const { return open_.empty() ? 0 : open_.back().plans; }
  uint32_t steps() const { return open_.empty() ? 0 : open_.back().steps; }

  // True where the grammar lets `tag` come next.
  bool allows(Tag tag) const;
  // Precondition: allows(tag).
  void apply(Tag tag);
  // Every branch of the innermost block has been closed: the machine of the trunk that forked them catches up.
  void close_all_steps();
  // The innermost block is no block after all.
  void drop_block() { open_.pop_back(); }

 private:
  struct Open {
    State state;
    uint32_t plans, steps;
  };
  std::vector<Open> open_;  // outermost first
};

}  // namespace npr::branch
