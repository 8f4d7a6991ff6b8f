// The rules of positions and visibility once more, as plainly as they can be put: a path of (block, branch) for every
// token, and a question for every pair.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "branch/layout.h"
#include "branch/tag_machine.h"

namespace test {

using npr::branch::Interval;
using npr::branch::State;
using npr::branch::Tag;

struct ReferenceLayout {
  using Path = std::vector<std::pair<uint32_t, uint32_t>>;  // (block, branch), outermost first

  std::vector<int32_t> positions;
  std::vector<Path> paths;
  std::vector<uint8_t> structural;
  std::map<uint32_t, uint32_t> closed_at;  // block to the index of its <takeaway>
  int32_t next = 0;
  // The last turn's end: its open blocks (their <guideline>), the innermost one's state, and whether tags count there.
  std::vector<uint32_t> open;
  State state = State::trunk;
  bool reads_tags = false;

  bool visible(uint32_t q, uint32_t k) const {
    if (k > q) return false;
    for (const auto& key : paths[k]) {
      const auto closed = closed_at.find(key.first);
      if (closed != closed_at.end() && closed->second <= q) continue;
      if (std::ranges::find(paths[q], key) == paths[q].end()) return false;
    }
    return true;
  }

  // What q sees, as intervals.
  std::vector<Interval> row(uint32_t q) const {
    std::vector<Interval> out;
    for (uint32_t k = 0; k <= q; ++k) {
      if (!visible(q, k)) continue;
      if (!out.empty() && out.back().end == k) {
        ++out.back().end;
      } else {
        out.push_back({k, k + 1});
      }
    }
    return out;
  }
};

class ReferenceReader {
 public:
  ReferenceReader(std::span<const int32_t> tokens, const npr::text::Vocabulary& vocabulary)
      : tokens_(tokens), vocabulary_(vocabulary) {}

  ReferenceLayout read() {
    const auto n = static_cast<uint32_t>(tokens_.size());
    uint32_t at = 0;
    for (const auto& [begin, end] : turns()) {
      plain(begin - at);
      out_.reads_tags = end == n;
      uint32_t plain_from = end;
      for (;;) {
        const auto saved = out_;
        const auto fault = turn(begin, end, plain_from);
        if (!fault) break;
        out_ = saved;
        plain_from = *fault;
        out_.reads_tags = false;
      }
      at = end;
    }
    plain(n - at);
    return out_;
  }

 private:
  struct Open {
    uint32_t id, at;
    State state = State::guideline;
    ReferenceLayout::Path path;
    int32_t fork = 0, far = -1;
    uint32_t plans = 0, steps = 0;
  };

  std::vector<std::pair<uint32_t, uint32_t>> turns() const {
    std::vector<std::pair<uint32_t, uint32_t>> turns;
    const auto& head = vocabulary_.turn_head;
    for (uint32_t i = 0; i < tokens_.size();) {
      const auto rest = tokens_.subspan(i);
      if (rest.size() < head.size() || !std::equal(head.begin(), head.end(), rest.begin())) {
        ++i;
        continue;
      }
      const auto begin = i + static_cast<uint32_t>(head.size());
      for (i = begin; i < tokens_.size() && tokens_[i] != vocabulary_.turn_end;) ++i;
      turns.emplace_back(begin, i);
    }
    return turns;
  }

  void put(const ReferenceLayout::Path& path, bool structural) {
    out_.positions.push_back(out_.next++);
    out_.paths.push_back(path);
    out_.structural.push_back(structural);
  }

  void plain(uint32_t count) {
    while (count--) put({}, false);
  }

  // Where the turn does not parse: from which token on it is plain.
  std::optional<uint32_t> turn(uint32_t begin, uint32_t end, uint32_t plain_from) {
    std::vector<Open> open;
    ReferenceLayout::Path path;
    for (uint32_t i = begin; i < end; ++i) {
      const Tag tag = i < plain_from ? npr::branch::tag_of(*vocabulary_.tags, tokens_[i]) : Tag::none;
      const State state = open.empty() ? State::trunk : open.back().state;
      const uint32_t fault = open.empty() ? i : open.front().at;
      if (tag == Tag::guideline) {
        if (state != State::trunk && state != State::step) return fault;
        open.push_back({.id = blocks_++, .at = i, .path = path});
      } else if (tag == Tag::plan) {
        if (state != State::guideline) return fault;
        open.back().state = State::plan;
        ++open.back().plans;
      } else if (tag == Tag::plan_end) {
        if (state != State::plan) return fault;
        open.back().state = State::guideline;
      } else if (tag == Tag::guideline_end) {
        if (state != State::guideline || !open.back().plans) return fault;
        open.back().state = State::between;
        open.back().fork = out_.next;
      } else if (tag == Tag::step) {
        if ((state != State::between && state != State::closed) || open.back().steps >= open.back().plans) return fault;
        path = open.back().path;
        path.emplace_back(open.back().id, open.back().steps++);
        open.back().state = State::step;
        out_.next = open.back().fork + 1;
      } else if (tag == Tag::step_end) {
        if (state != State::step) return fault;
        open.back().state = State::closed;
        open.back().far = std::max(open.back().far, out_.next);
      } else if (tag == Tag::takeaway) {
        if (state != State::closed || open.back().steps != open.back().plans) return fault;
        out_.closed_at[open.back().id] = i;
        path = open.back().path;
        out_.next = open.back().far + 1;
        open.back().state = State::takeaway;
      } else if (tag == Tag::takeaway_end) {
        if (state != State::takeaway) return fault;
        open.pop_back();
      }
      put(path, tag != Tag::none);
    }
    if (end < tokens_.size()) {
      // A takeaway may end with its turn, a block that still waits for its steps may not.
      if (std::ranges::any_of(open, [](const Open& block) { return block.state != State::takeaway; })) {
        return open.front().at;
      }
      return {};
    }
    out_.open.clear();
    for (const auto& block : open) out_.open.push_back(block.at);
    out_.state = open.empty() ? State::trunk : open.back().state;
    return {};
  }

  std::span<const int32_t> tokens_;
  const npr::text::Vocabulary& vocabulary_;
  ReferenceLayout out_;
  uint32_t blocks_ = 0;
};

inline ReferenceLayout reference_layout(std::span<const int32_t> tokens, const npr::text::Vocabulary& vocabulary) {
  return ReferenceReader(tokens, vocabulary).read();
}

}  // namespace test
