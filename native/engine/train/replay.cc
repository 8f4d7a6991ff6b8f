#include "train/replay.h"

#include <string>

#include "error.h"

namespace npr::train {

using branch::Branch;

Replay::Replay(const Request& request, const branch::Lexicon& lexicon, const branch::Prompt& prompt,
               const Trajectory& trajectory, uint32_t max_positions)
    : lexicon_(lexicon),
      prompt_(prompt),
      trajectory_(trajectory),
      choice_(request, lexicon, trajectory.choice, prompt.start, max_positions),
      frames_{{&choice_.trunk()}} {}

std::optional<uint32_t> Replay::next() {
  if (sampling_) {
    sampling_ = false;
    Frame& frame = frames_.back();
    const int32_t token = trajectory_.tokens[at_];
    take(token);
    if (frame.branch->tokens[frame.own] != token) refuse("a branch does not keep its end of sequence");
    ++frame.own;
    ++at_;
  }
  while (const Branch* const branch = walk()) {
    if (at_ == trajectory_.tokens.size()) refuse("it ends where the response was to go on");
    const auto mask = choice_.mask(*branch);
    if (trajectory_.forced[at_]) {
      // An end of sequence sampled in a branch is not kept: what the engine wrote for it comes next.
      const auto& ends = lexicon_.end_tokens();
      if (branch->is_trunk() || ends.empty() || !mask.allows(ends.front()))
        refuse("it was not for the engine to choose");
      take(ends.front());
      continue;
    }
    if (!mask.allows(trajectory_.tokens[at_])) refuse("it could not be sampled there");
    sampling_ = true;
    return at_;
  }
  if (at_ < trajectory_.tokens.size()) refuse("the response was over before it");
  return std::nullopt;
}

sample::Row Replay::row(const float* logits, uint32_t vocab, std::vector<const sample::Histogram*>& layers) const {
  return choice_.row(*frames_.back().branch, prompt_.counts, logits, vocab, layers);
}

// Goes on in flat order to the first branch that waits for a token, and returns it, the last of frames_; null where the
// choice is over.
Branch* Replay::walk() {
  while (!frames_.empty()) {
    Frame& frame = frames_.back();
    Branch& branch = *frame.branch;
    if (frame.block < branch.blocks.size()) {
      const auto& block = *branch.blocks[frame.block];
      compare(frame, block.fork_at);
      if (frame.child < block.branches.size()) {
        frames_.push_back({block.branches[frame.child++].get()});
      } else {
        ++frame.block;
        frame.child = 0;
      }
      continue;
    }
    compare(frame, static_cast<uint32_t>(branch.tokens.size()));
    if (branch.wants_token()) return &branch;
    frames_.pop_back();
  }
  return nullptr;
}

// Own tokens up to `end` were forced: the trajectory must have the same.
void Replay::compare(Frame& frame, uint32_t end) {
  for (; frame.own < end; ++frame.own, ++at_) {
    if (at_ == trajectory_.tokens.size()) refuse("it ends where the engine was to go on");
    const int32_t token = frame.branch->tokens[frame.own];
    if (trajectory_.tokens[at_] != token || !trajectory_.forced[at_]) {
      refuse("the engine was to force " + std::to_string(token) + " there");
    }
  }
}

void Replay::take(int32_t token) {
  events_.clear();
  choice_.accept(*frames_.back().branch, {.token = token, .logprob = 0, .policy_logprob = 0, .top = {}}, events_);
}

void Replay::refuse(const std::string& what) const {
  std::string where = "after its " + std::to_string(at_) + " tokens";
  if (at_ < trajectory_.tokens.size()) {
    where = "at token " + std::to_string(at_) + ", " + std::to_string(trajectory_.tokens[at_]) +
            (trajectory_.forced[at_] ? ", forced" : ", sampled");
  }
  throw Error(ErrorCode::invalid_request, "the trajectory does not follow from its request " + where + ": " + what);
}

}  // namespace npr::train
