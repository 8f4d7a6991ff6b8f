// What must hold of a choice at its end, worked out anew from its tokens.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "branch/choice_run.h"
#include "check.h"
#include "text/utf8.h"

namespace test {

using engine::append;
using engine::Block;
using engine::Branch;
using engine::Interval;
using engine::Tag;

// A prompt and its response in flat order, with what the engine's branches make of them.
struct Flat {
  std::vector<int32_t> tokens, positions;
  std::vector<uint8_t> structural;
  std::vector<std::vector<Interval>> rows;  // what each token sees
  std::string text;                         // of the response, as events told it
  std::vector<npr::BranchEnd> ends;         // of completed branches

  bool operator==(const Flat&) const = default;
  uint32_t size() const { return static_cast<uint32_t>(tokens.size()); }

  void put(std::vector<Interval>& visible, int32_t token, int32_t position, bool acts) {
    append(visible, {size(), size() + 1});
    rows.push_back(visible);
    tokens.push_back(token);
    positions.push_back(position);
    structural.push_back(acts);
  }
};

class Flattener {
 public:
  explicit Flattener(const Run& run) : run_(run) {}

  Flat flat() {
    const auto& layout = run_.task().layout;
    const auto& prompt = run_.task().request.prompt;
    for (const auto& piece : layout.pieces) {
      auto visible = piece.context;
      for (uint32_t i = piece.begin; i < piece.end; ++i) {
        flat_.put(visible, prompt[i], layout.positions[i], layout.structural[i]);
      }
    }
    auto visible = layout.context;
    walk(run_.choice().trunk(), visible);
    return std::move(flat_);
  }

 private:
  void walk(const Branch& branch, std::vector<Interval>& visible) {
    const auto& told = run_.told(branch);
    CHECK(told.tokens == branch.tokens);
    CHECK_EQ(told.texts.size(), branch.blocks.size() + 1);
    uint32_t at = 0;
    const auto put_until = [&](size_t end) {
      for (; at < end; ++at) flat_.put(visible, branch.tokens[at], branch.positions[at], branch.structural[at]);
    };
    for (size_t i = 0; i < branch.blocks.size(); ++i) {
      const Block& block = *branch.blocks[i];
      put_until(block.fork_at);
      flat_.text += told.texts[i];
      const uint32_t first = flat_.size();
      for (const auto& child : block.branches) {
        auto own = visible;
        walk(*child, own);
      }
      if (block.joined) append(visible, {first, flat_.size()});
    }
    put_until(branch.tokens.size());
    flat_.text += told.texts.back();
    if (told.end) flat_.ends.push_back(*told.end);
  }

  const Run& run_;
  Flat flat_;
};

// Positions and visibility follow from the tokens and from which of them act as tags, as the prefix cache takes it:
// also for blocks that were cut anywhere.
inline void check_key_tells_all(const Flat& flat) {
  struct Open {
    int32_t fork = -1, far = -1;
    uint32_t plans = 0, steps = 0, first = 0;
    bool joined = false;
    std::vector<Interval> trunk = {};
  };
  std::vector<Open> open;
  std::vector<Interval> visible;
  int32_t position = 0;
  for (uint32_t i = 0; i < flat.size(); ++i) {
    const Tag tag = flat.structural[i] ? small_lexicon().tag(flat.tokens[i]) : Tag::none;
    if (tag == Tag::guideline) open.push_back({});
    if (tag == Tag::plan) ++open.back().plans;
    if (tag == Tag::guideline_end) open.back().fork = position;
    if (tag == Tag::step) {
      while (open.back().fork < 0 || open.back().steps == open.back().plans) open.pop_back();  // cut inside a step
      auto& block = open.back();
      if (block.steps++ == 0) {
        block.trunk = visible;
        block.first = i;
      }
      visible = block.trunk;
      position = block.fork + 1;
    }
    if (tag == Tag::step_end) {
      while (open.back().joined) open.pop_back();  // cut inside a takeaway
      open.back().far = std::max(open.back().far, position);
    }
    if (tag == Tag::takeaway) {
      auto& block = open.back();
      visible = block.trunk;
      append(visible, {block.first, i});
      position = block.far + 1;
      block.joined = true;
    }
    if (tag == Tag::takeaway_end) open.pop_back();
    append(visible, {i, i + 1});
    CHECK_EQ(flat.positions[i], position);
    CHECK(flat.rows[i] == visible);
    ++position;
  }
}

// Budgets, forced tokens, limits and usage of a run.
class Auditor {
 public:
  explicit Auditor(const Run& run) : run_(run), request_(run.task().request) {}

  void audit() {
    const auto& trunk = run_.choice().trunk();
    const uint32_t total = tokens_of(trunk, 0, request_.max_tokens, run_.task().max_positions);
    const auto& usage = run_.finished().usage;
    CHECK_EQ(usage.completion_tokens, total);
    CHECK(total <= request_.max_tokens);
    CHECK_EQ(usage.forced_tokens, forced_);
    CHECK_EQ(usage.blocks, blocks_);
    CHECK_EQ(usage.branches, branches_);
    longest(trunk, 0);
    CHECK_EQ(usage.critical_path_tokens, longest_);
  }

 private:
  static constexpr uint32_t closing = 4;  // positions of </step>, <takeaway>, newline, </takeaway>

  // Tokens of the branch and all inside. left: what it may add after its head.
  uint32_t tokens_of(const Branch& branch, uint32_t depth, uint32_t left, uint32_t limit) {
    const auto& told = run_.told(branch);
    const auto& lexicon = small_lexicon();
    const auto size = static_cast<uint32_t>(branch.tokens.size());
    forced_ += static_cast<uint32_t>(std::ranges::count_if(told.forced, [](uint8_t f) { return f == 1; }));
    uint32_t at = 0, total = 0, spent = 0, sampled = 0;
    const auto forced = [&](const std::vector<int32_t>& tokens, bool tag) {
      for (size_t i = 0; i < tokens.size(); ++i, ++at, ++total) {
        CHECK(at < size && told.forced[at]);
        CHECK_EQ(branch.tokens[at], tokens[i]);
        CHECK_EQ(branch.structural[at] == 1, tag && i == 0);
      }
    };
    if (depth) forced(lexicon.head(branch.number), true);
    const bool closed = told.end && *told.end != npr::BranchEnd::invalid_structure;
    const uint32_t tail = !closed ? 0 : *told.end == npr::BranchEnd::step_end ? 1 : 2;
    bool forked_not = false;  // the last token was a </guideline> without a fork
    const auto sampled_until = [&](uint32_t end) {
      for (; at < end; ++at, ++total, ++spent, ++sampled) {
        CHECK(!told.forced[at]);
        CHECK(branch.positions[at] < static_cast<int32_t>(limit));
        CHECK(spent < left);
        forked_not = branch.tokens[at] == guideline_end;
        if (counts_own() && depth) CHECK(branch.own.count(branch.tokens[at]) > 0);
      }
    };
    for (const auto& block : branch.blocks) {
      ++blocks_;
      const auto count = static_cast<uint32_t>(block->branches.size());
      CHECK(depth + 1 <= request_.parallel.max_depth || (run_.task().layout.machine.depth() && !depth));
      sampled_until(block->fork_at - 1);
      const auto numbers = numbers_before(branch, at, count);
      forced({newline}, false);
      CHECK(branch.tokens[at - 2] == guideline_end && branch.structural[at - 2]);
      uint32_t reserved = 3;
      for (const auto& number : numbers) reserved += static_cast<uint32_t>(lexicon.head(number).size()) + 2;
      CHECK(left - spent > reserved);
      uint32_t each = (left - spent - reserved - 1) / count;
      if (request_.parallel.max_branch_tokens) each = std::min(each, request_.parallel.max_branch_tokens);
      CHECK(each > 0);
      uint32_t inside = 0;
      bool all_closed = true;
      for (uint32_t i = 0; i < count; ++i) {
        const Branch& child = *block->branches[i];
        ++branches_;
        CHECK_EQ(child.number, numbers[i]);
        CHECK_EQ(child.index, i);
        CHECK_EQ(child.positions[0], branch.positions[at - 2] + 1);
        inside += tokens_of(child, depth + 1, each, limit - closing);
        all_closed = all_closed && run_.told(child).end && !child.faulty;
      }
      CHECK_EQ(block->joined, all_closed);
      total += inside;
      spent += 1 + inside;
      forked_not = false;
      if (!block->joined) {
        CHECK_EQ(at, size);
        return total;
      }
      forced({takeaway, newline}, true);
      spent += 2;
      CHECK(spent < left);
    }
    sampled_until(size - tail);
    if (!closed) return total;

    const bool used_up = spent == left || branch.positions[at - 1] + 1 >= static_cast<int32_t>(limit) || forked_not;
    if (*told.end == npr::BranchEnd::step_end) {
      CHECK(branch.tokens[at - 1] == step_end && branch.structural[at - 1] && !told.forced[at - 1]);
      forced({newline}, false);
    } else {
      if (*told.end == npr::BranchEnd::length) CHECK(used_up);
      forced({step_end, newline}, true);
    }
    return total;
  }

  bool counts_own() const { return request_.sampling.branch_repetition_penalty != 1.0f; }

  // The numbers of the plans of the guideline that ends before own token `end`.
  std::vector<std::string> numbers_before(const Branch& branch, uint32_t end, uint32_t count) const {
    std::vector<int32_t> tokens;
    if (branch.is_trunk()) tokens = request_.prompt;
    tokens.insert(tokens.end(), branch.tokens.begin(), branch.tokens.begin() + end);
    size_t at = tokens.size() - 1;
    while (tokens[at] != guideline) --at;
    std::vector<std::string> numbers;
    std::string text;
    for (; at < tokens.size(); ++at) {
      if (tokens[at] == plan) text.clear();
      if (tokens[at] == plan_end) {
        numbers.push_back(engine::plan_number(text, static_cast<uint32_t>(numbers.size()) + 1));
      }
      if (!is_tag(tokens[at])) text += small_lexicon().vocabulary().token(tokens[at]);
    }
    CHECK_EQ(numbers.size(), size_t{count});
    return numbers;
  }

  uint32_t longest(const Branch& branch, uint32_t before) {
    uint32_t at = 0;
    for (const auto& block : branch.blocks) {
      before += block->fork_at - at;
      at = block->fork_at;
      uint32_t most = before;
      for (const auto& child : block->branches) most = std::max(most, longest(*child, before));
      if (block->joined) before = most;
    }
    before += static_cast<uint32_t>(branch.tokens.size()) - at;
    longest_ = std::max(longest_, before);
    return before;
  }

  const Run& run_;
  const npr::Request& request_;
  uint32_t forced_ = 0, blocks_ = 0, branches_ = 0, longest_ = 0;
};

inline std::string decoded(const std::string& bytes) {
  npr::text::Utf8Assembler assembler;
  std::string out;
  assembler.push(bytes, out);
  assembler.flush(out);
  return out;
}

}  // namespace test
