// A branch: a list of tokens, the state that its next token meets, and the slots of all that it sees.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "branch/tag_machine.h"
#include "compute/backend.h"
#include "event.h"
#include "sample/histogram.h"
#include "sample/philox.h"
#include "text/text_stream.h"

namespace npr::branch {

struct Block;
class Lexicon;

// The plans of a block that is being written.
struct Guideline {
  uint32_t at = 0;                      // the branch's own token that opened it; meaningless where the prompt did
  std::vector<std::string> plans = {};  // bytes of their texts
  uint32_t spaces = 0;                  // whitespace tokens since the last tag
  uint32_t heads = 0;                   // tokens of the heads of the closed plans' branches: every token asks for them

  void close_plan(const Lexicon& lexicon);
};

// Reads the guideline that tokens[at] opened and that the tokens leave open.
Guideline read_guideline(const Lexicon& lexicon, std::span<const int32_t> tokens, uint32_t at);

// The trunk of a choice, or one step of a block. Its own tokens are those that it added; in flat order a block's
// branches stand between its parent's tokens, at Block::fork_at.
struct Branch {
  uint32_t id = 0;  // 0: the trunk
  Branch* parent = nullptr;
  Block* block = nullptr;  // the one that it is a branch of
  uint32_t index = 0;      // within it
  std::string number;      // its plan's

  std::vector<int32_t> tokens, positions;
  std::vector<uint8_t> structural;  // 1 where a tag token acts as a tag
  std::vector<std::unique_ptr<Block>> blocks;

  // Keys and values: own tokens [0, slots.size()) are computed.
  std::vector<compute::Slot> slots;
  compute::Path path;        // everything visible: the context, joined blocks, own computed tokens
  uint32_t path_length = 0;  // tokens in it
  bool has_context = false;  // path starts with what the parent saw
  uint32_t merged = 0;       // blocks whose branches are in path
  uint32_t dropped = 0;      // of them, blocks whose branches' own paths are gone

  TagMachine machine;
  bool plain = false;  // a fault under on_invalid: ignore took the structure away
  Guideline guideline;
  int32_t next_position = 0;
  int32_t position_limit = 0;  // positions of sampled tokens stay below
  uint32_t left = 0;           // tokens that it may still add by sampling
  bool done = false;
  bool faulty = false;            // done by invalid structure, its own or that of a branch within
  int32_t step_end_position = 0;  // of its </step>, once done

  sample::Stream stream;
  uint32_t sampled = 0;        // tokens sampled on this path
  sample::Histogram seen;      // tokens that it added to the visible path
  sample::Histogram own;       // tokens that it sampled
  uint32_t critical_path = 0;  // the longest chain of response tokens up to here
  text::TextStream text;
  Channel channel = Channel::content;

  Branch(const sample::Stream& stream_, const text::StopSet& stops) : stream(stream_), text(stops) {}

  bool is_trunk() const { return parent == nullptr; }
  Block* open_block() const;
  // Waits for a token to be sampled once everything is computed.
  bool wants_token() const { return !done && !open_block(); }
};

struct Block {
  uint32_t id = 0;
  uint32_t fork_at = 0;        // the parent's own tokens before the branches
  int32_t start_position = 0;  // of every branch's <step>
  std::vector<std::unique_ptr<Branch>> branches;
  uint32_t running = 0;  // branches that are not done
  bool joined = false;
};

inline Block* Branch::open_block() const {
  return blocks.empty() || blocks.back()->joined ? nullptr : blocks.back().get();
}

// Calls f(branch, from, to) for own tokens [from, to) of `branch` and of everything inside, in flat order.
template <class B, class F>
void for_each_flat(B& branch, F&& f) {
  uint32_t from = 0;
  for (auto& block : branch.blocks) {
    f(branch, from, block->fork_at);
    for (auto& child : block->branches) for_each_flat(static_cast<B&>(*child), f);
    from = block->fork_at;
  }
  f(branch, from, static_cast<uint32_t>(branch.tokens.size()));
}

// Tokens of a branch and of everything inside.
uint32_t total_tokens(const Branch& branch);

}  // namespace npr::branch
