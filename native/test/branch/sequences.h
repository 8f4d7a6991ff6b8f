// Random token sequences in the parallel format: whole ones, and spoilt ones.
#pragma once
#include <algorithm>
#include <random>
#include <vector>

#include "branch/words.h"

namespace test {

// Thread safety: one thread.
class SequenceMaker {
 public:
  explicit SequenceMaker(uint32_t seed) : random_(seed) {}

  // A conversation of a few turns, every block in it whole.
  std::vector<int32_t> conversation() {
    out_.clear();
    text(3);
    for (uint32_t turns = 1 + below(3); turns; --turns) {
      if (below(3) == 0) user();
      out_.insert(out_.end(), {im_start, assistant, newline});
      for (uint32_t blocks = below(3); blocks; --blocks) {
        text(3);
        block(0);
      }
      text(3);
      if (turns == 1 && below(2)) break;
      out_.push_back(im_end);
      if (turns == 1 && below(4) == 0) user();
    }
    return out_;
  }

  // The same with one to three tokens changed, dropped, doubled, exchanged or put in, or an end cut off.
  std::vector<int32_t> spoilt() {
    conversation();
    for (uint32_t times = 1 + below(3); times && !out_.empty(); --times) {
      const auto at = out_.begin() + below(size());
      switch (below(6)) {
        case 0:
          *at = tag_or_word();
          break;
        case 1:
          out_.erase(at);
          break;
        case 2:
          out_.insert(at, *at);
          break;
        case 3:
          std::swap(*at, out_[below(size())]);
          break;
        case 4:
          out_.insert(at, tag_or_word());
          break;
        default:
          out_.erase(at, out_.end());
      }
    }
    return out_;
  }

  // The beginning of a conversation, often within an open block.
  std::vector<int32_t> beginning() {
    conversation();
    out_.resize(below(size() + 1));
    return out_;
  }

  // Tags in any order within a turn.
  std::vector<int32_t> soup() {
    out_ = {im_start, assistant, newline};
    for (uint32_t more = below(24); more; --more) out_.push_back(below(16) ? tag_or_word() : int32_t{im_end});
    return out_;
  }

  uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

 private:
  uint32_t size() const { return static_cast<uint32_t>(out_.size()); }
  int32_t word() { return static_cast<int32_t>(digit_0 + below(end_of_text - digit_0)); }
  int32_t tag_or_word() { return below(3) ? static_cast<int32_t>(guideline + below(8)) : word(); }

  void text(uint32_t most) {
    for (uint32_t n = below(most + 1); n; --n) out_.push_back(word());
  }

  void user() {
    out_.push_back(im_start);
    for (uint32_t n = below(5); n; --n) out_.push_back(tag_or_word());
    out_.push_back(im_end);
  }

  void block(uint32_t depth) {
    const uint32_t plans = 1 + below(3);
    out_.push_back(guideline);
    for (uint32_t i = 0; i < plans; ++i) {
      text(1);
      out_.push_back(plan);
      text(2);
      out_.push_back(plan_end);
    }
    out_.push_back(guideline_end);
    text(1);
    for (uint32_t i = 0; i < plans; ++i) {
      out_.push_back(step);
      text(4);
      if (depth < 2 && below(4) == 0) block(depth + 1);
      text(1);
      out_.push_back(step_end);
      text(2);
    }
    out_.push_back(takeaway);
    text(2);
    out_.push_back(takeaway_end);
  }

  std::mt19937 random_;
  std::vector<int32_t> out_;
};

}  // namespace test
