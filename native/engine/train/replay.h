// A trajectory written once more by the machine that wrote it, so that masks, penalties and forced tokens are its own.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "branch/choice.h"
#include "branch/prompt.h"
#include "train/group.h"

namespace npr::train {

// Feeds a branch::Choice the sampled tokens, branch by branch in flat order.
// Thread safety: one thread at a time; row() may run on several meanwhile.
class Replay {
 public:
  // All must outlive it. `prompt`: the request's.
  Replay(const Request& request, const branch::Lexicon& lexicon, const branch::Prompt& prompt,
         const Trajectory& trajectory, uint32_t max_positions);

  // Goes on to the next sampled token and returns its index in the trajectory; none at its end. Throws
  // Error(invalid_request) where the request could not have led there.
  std::optional<uint32_t> next();
  // What the token that next() returned was drawn with; views of the replay, until the next call of next().
  sample::Row row(const float* logits, uint32_t vocab, std::vector<const sample::Histogram*>& layers) const;
  // At the end: the choice as it was when its last token had come.
  const branch::Choice& choice() const { return choice_; }

 private:
  // Where the walk stands in a branch that is not left yet.
  struct Frame {
    branch::Branch* branch;
    uint32_t own = 0;    // own tokens behind the walk
    uint32_t block = 0;  // blocks behind it
    uint32_t child = 0;  // branches of the next block that were entered
  };

  branch::Branch* walk();
  void compare(Frame& frame, uint32_t end);
  void take(int32_t token);
  [[noreturn]] void refuse(const std::string& what) const;

  const branch::Lexicon& lexicon_;
  const branch::Prompt& prompt_;
  const Trajectory& trajectory_;
  branch::Choice choice_;
  branch::Events events_;  // not looked at
  std::vector<Frame> frames_;
  uint32_t at_ = 0;        // tokens behind the walk
  bool sampling_ = false;  // the token at `at_` is still to be accepted
};

}  // namespace npr::train
