#include "branch/layout.h"

#include <algorithm>

#include "error.h"

namespace npr::branch {

void append(std::vector<Interval>& visible, Interval next) {
  if (next.begin == next.end) return;
  if (!visible.empty() && visible.back().end == next.begin) {
    visible.back().end = next.end;
  } else {
    visible.push_back(next);
  }
}

namespace {

struct Malformed {
  uint32_t at;
};

// Lays out one sequence from left to right.
class Writer {
 public:
  Writer(std::span<const int32_t> tokens, const text::Vocabulary& vocabulary)
      : tokens_(tokens), vocabulary_(vocabulary) {
    out_.positions.reserve(tokens.size());
    out_.structural.reserve(tokens.size());
    out_.pieces.push_back({0, 0, {}});
  }

  void plain(uint32_t end) {
    while (out_.positions.size() < end) put(false);
  }

  // A turn that does not parse is laid out anew, plain from the token at fault on.
  void turn(Interval turn, bool may_stay_open) {
    uint32_t plain_from = turn.end;
    const Mark start = mark();
    for (;;) {
      try {
        structured(turn, plain_from, may_stay_open);
        out_.plain = may_stay_open && plain_from < turn.end;
        out_.in_turn = may_stay_open;
        return;
      } catch (const Malformed& fault) {
        go_back(start);
        plain_from = fault.at;
      }
    }
  }

  Layout finish() {
    auto& last = out_.pieces.back();
    last.end = index();
    out_.context = visible();
    if (last.begin == last.end) out_.pieces.pop_back();
    return std::move(out_);
  }

 private:
  struct Block {
    uint32_t at;                       // its <guideline>
    int32_t fork_position = 0;         // of its </guideline>
    int32_t far = -1;                  // the furthest position of a </step>
    uint32_t first_step = 0;           // flat index; 0: none yet
    std::vector<Interval> trunk = {};  // what its branches see before themselves
  };

  // What a turn may change of what was written before it: the end of the last piece, and what follows.
  struct Mark {
    size_t tokens, pieces;
    Piece last;
    int32_t next_position;
  };
  Mark mark() const { return {out_.positions.size(), out_.pieces.size(), out_.pieces.back(), out_.next_position}; }
  void go_back(const Mark& mark) {
    out_.positions.resize(mark.tokens);
    out_.structural.resize(mark.tokens);
    out_.pieces.resize(mark.pieces);
    out_.pieces.back() = mark.last;
    out_.next_position = mark.next_position;
  }

  uint32_t index() const { return static_cast<uint32_t>(out_.positions.size()); }

  void put(bool structural) {
    out_.positions.push_back(out_.next_position++);
    out_.structural.push_back(structural);
  }

  // What a token at index() sees before itself.
  std::vector<Interval> visible() const {
    auto all = out_.pieces.back().context;
    append(all, {out_.pieces.back().begin, index()});
    return all;
  }

  void start_piece(std::vector<Interval> context) {
    auto& last = out_.pieces.back();
    last.end = index();
    if (last.begin == last.end) {
      last.context = std::move(context);
    } else {
      out_.pieces.push_back({index(), index(), std::move(context)});
    }
  }

  void structured(Interval turn, uint32_t plain_from, bool may_stay_open) {
    std::vector<Block> open;
    out_.machine = TagMachine();
    for (uint32_t i = turn.begin; i < turn.end; ++i) {
      const Tag tag = i < plain_from ? tag_of(*vocabulary_.tags, tokens_[i]) : Tag::none;
      if (tag != Tag::none) {
        if (!out_.machine.allows(tag)) throw Malformed{open.empty() ? i : open.front().at};
        out_.machine.apply(tag);
        enter(tag, i, open);
      }
      put(tag != Tag::none);
      if (tag == Tag::step_end) open.back().far = std::max(open.back().far, out_.positions.back());
    }
    const bool ends_in_takeaway = open.size() == 1 && out_.machine.state() == State::takeaway;
    if (!open.empty() && !may_stay_open && !ends_in_takeaway) throw Malformed{open.front().at};
    out_.open_block = open.empty() ? 0 : open.back().at;
    if (!may_stay_open) out_.machine = TagMachine();
  }

  // What a tag does to positions and visibility before it is put at index i.
  void enter(Tag tag, uint32_t i, std::vector<Block>& open) {
    switch (tag) {
      case Tag::guideline:
        open.push_back({.at = i});
        return;
      case Tag::guideline_end:
        open.back().fork_position = out_.next_position;
        return;
      case Tag::step: {
        auto& block = open.back();
        if (!block.first_step) {
          block.first_step = i;
          block.trunk = visible();
        }
        start_piece(block.trunk);
        out_.next_position = block.fork_position + 1;
        return;
      }
      case Tag::takeaway: {
        auto& block = open.back();
        append(block.trunk, {block.first_step, i});
        start_piece(std::move(block.trunk));
        out_.next_position = block.far + 1;
        return;
      }
      case Tag::takeaway_end:
        open.pop_back();
        return;
      default:
        return;
    }
  }

  std::span<const int32_t> tokens_;
  const text::Vocabulary& vocabulary_;
  Layout out_;
};

}  // namespace

std::vector<Interval> assistant_turns(std::span<const int32_t> tokens, const text::Vocabulary& vocabulary) {
  const auto& head = vocabulary.turn_head;
  std::vector<Interval> turns;
  if (head.empty()) return turns;
  for (auto at = tokens.begin();;) {
    at = std::search(at, tokens.end(), head.begin(), head.end());
    if (at == tokens.end()) return turns;
    const auto begin = at + static_cast<ptrdiff_t>(head.size());
    at = std::find(begin, tokens.end(), vocabulary.turn_end);
    turns.push_back({static_cast<uint32_t>(begin - tokens.begin()), static_cast<uint32_t>(at - tokens.begin())});
  }
}

Layout plain_layout(uint32_t tokens) {
  Layout out;
  out.positions.resize(tokens);
  for (uint32_t i = 0; i < tokens; ++i) out.positions[i] = static_cast<int32_t>(i);
  out.structural.assign(tokens, 0);
  if (tokens) {
    out.pieces.push_back({0, tokens, {}});
    out.context.push_back({0, tokens});
  }
  out.next_position = static_cast<int32_t>(tokens);
  return out;
}

Layout parallel_layout(std::span<const int32_t> tokens, const text::Vocabulary& vocabulary) {
  ensure(vocabulary.tags.has_value(), "a vocabulary with tags");
  Writer writer(tokens, vocabulary);
  const auto end = static_cast<uint32_t>(tokens.size());
  for (const auto turn : assistant_turns(tokens, vocabulary)) {
    writer.plain(turn.begin);
    writer.turn(turn, turn.end == end);  // an empty one too: the head alone opens it
  }
  writer.plain(end);
  return writer.finish();
}

}  // namespace npr::branch
