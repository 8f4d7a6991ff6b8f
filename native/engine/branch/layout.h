// The layout of a flat token sequence: positions, and who sees whom.
//
// Flat order is the order in which a client sees tokens: the branches of a block one after another. Structure is read
// in the assistant's turns alone; a block that does not parse is ordinary tokens from its outermost <guideline> to the
// end of its turn, and a stray tag likewise from itself on.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "branch/tag_machine.h"
#include "text/vocabulary.h"

namespace npr::branch {

// Flat indices [begin, end).
struct Interval {
  uint32_t begin, end;
  bool operator==(const Interval&) const = default;
};

// Appends to what is seen, in order; neighbours become one interval.
void append(std::vector<Interval>& visible, Interval next);

// Tokens [begin, end) that are appended to one branch: token q of them sees `context`, in order, and [begin, q].
struct Piece {
  uint32_t begin, end;
  std::vector<Interval> context;
};

struct Layout {
  std::vector<int32_t> positions;   // [n]
  std::vector<uint8_t> structural;  // [n] 1 where a tag token acts as a tag
  std::vector<Piece> pieces;        // consecutive, covering [0, n)
  // What the next token would find.
  std::vector<Interval> context;  // its visible tokens
  int32_t next_position = 0;
  TagMachine machine;
  bool in_turn = false;     // the sequence ends inside an assistant's turn
  bool plain = false;       // and that turn has lost its structure
  uint32_t open_block = 0;  // where the innermost open block's <guideline> stands, if machine.depth() > 0
};

// The assistant's turns: [first token after the head, its <|im_end|> or the end).
std::vector<Interval> assistant_turns(std::span<const int32_t> tokens, const text::Vocabulary& vocabulary);

// Without structure: one piece, counting positions.
Layout plain_layout(uint32_t tokens);

// The last turn may stop inside an open block where it also ends the sequence. Precondition: vocabulary.tags.
Layout parallel_layout(std::span<const int32_t> tokens, const text::Vocabulary& vocabulary);

}  // namespace npr::branch
