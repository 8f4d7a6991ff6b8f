#include "train/prepare.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "error.h"
#include "schedule/validate.h"
#include "train/replay.h"

namespace npr::train {

namespace {

using branch::Branch;
using branch::Interval;
using branch::Layout;
using branch::Piece;

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorCode::invalid_request, what); }

void require_tokens(const std::vector<int32_t>& tokens, const char* whose, uint32_t vocab) {
  if (tokens.empty()) refuse(std::string(whose) + " has no tokens; expected at least one");
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || static_cast<uint32_t>(tokens[i]) >= vocab) {
      refuse(std::string(whose) + "'s token " + std::to_string(i) + " is " + std::to_string(tokens[i]) +
             "; expected an id from 0 to " + std::to_string(vocab - 1));
    }
  }
}

void require_valid(const Trajectory& trajectory, const Group& group, uint32_t vocab) {
  const size_t count = trajectory.tokens.size();
  require_tokens(trajectory.tokens, "the trajectory", vocab);
  const auto require_length = [&](const char* name, size_t length) {
    if (length != count) {
      refuse("it has " + std::to_string(length) + " " + name + "; expected one for each of its " +
             std::to_string(count) + " tokens");
    }
  };
  const auto require_finite = [&](const char* name, const std::vector<float>& values) {
    require_length(name, values.size());
    for (size_t i = 0; i < count; ++i) {
      if (!std::isfinite(values[i])) {
        refuse("of its " + std::string(name) + ", number " + std::to_string(i) + " is " + std::to_string(values[i]) +
               "; expected a finite number");
      }
    }
  };
  require_finite("weights", trajectory.weights);
  if (!trajectory.old_logprobs.empty()) require_finite("old log-probabilities", trajectory.old_logprobs);
  if (!group.request) return;
  require_length("marks of forced tokens", trajectory.forced.size());
  for (size_t i = 0; i < count; ++i) {
    if (trajectory.forced[i] && trajectory.weights[i] != 0) {
      refuse("its token " + std::to_string(i) + " is forced and has the weight " +
             std::to_string(trajectory.weights[i]) + "; expected 0, as the policy did not choose it");
    }
  }
  if (trajectory.choice >= group.request->n) {
    refuse("it is choice " + std::to_string(trajectory.choice) + "; its request asked for " +
           std::to_string(group.request->n) + " samples");
  }
}

// Token q of a piece that begins at `begin` sees all of the context and [begin, q].
std::vector<Interval> visible(const Piece& piece, uint32_t end) {
  auto all = piece.context;
  branch::append(all, {piece.begin, end});
  return all;
}

Rows first_rows(const Layout& layout, std::span<const int32_t> prompt) {
  const auto count = static_cast<uint32_t>(prompt.size());
  Rows out{prompt, {layout.positions.begin(), layout.positions.begin() + count}, {}};
  for (const Piece& piece : layout.pieces) {
    if (piece.begin < count) out.pieces.push_back({piece.begin, std::min(piece.end, count), piece.context});
  }
  return out;
}

// The rest of a layout whose first `count` tokens are the prompt.
Rows last_rows(const Layout& layout, uint32_t count, std::span<const int32_t> response) {
  Rows out{response, {layout.positions.begin() + count, layout.positions.end()}, {}};
  for (const Piece& piece : layout.pieces) {
    if (piece.begin >= count) {
      out.pieces.push_back(piece);
    } else if (piece.end > count) {
      out.pieces.push_back({count, piece.end, visible(piece, count)});
    }
  }
  return out;
}

bool same(const Rows& a, const Rows& b) {
  const auto equal = [](const Piece& x, const Piece& y) {
    return x.begin == y.begin && x.end == y.end && x.context == y.context;
  };
  return a.positions == b.positions && std::ranges::equal(a.pieces, b.pieces, equal);
}

// Lays out what the branches of a choice hold, as the engine computed it: under on_invalid: ignore and after a fault
// that is not what reading the tokens back would give.
class ChoiceRows {
 public:
  ChoiceRows(const branch::Choice& choice, const Layout& prompt, std::span<const int32_t> response)
      : at_(static_cast<uint32_t>(prompt.positions.size())) {
    out_.tokens = response;
    add(choice.trunk(), prompt.context);
  }
  Rows take() { return std::move(out_); }

 private:
  void add(const Branch& branch, std::vector<Interval> context) {
    uint32_t own = 0;
    for (const auto& block : branch.blocks) {
      own = add_piece(branch, own, block->fork_at, context);
      const uint32_t begin = at_;
      for (const auto& child : block->branches) add(*child, context);
      branch::append(context, {begin, at_});
    }
    add_piece(branch, own, static_cast<uint32_t>(branch.tokens.size()), context);
  }

  // Own tokens [from, to), which `context` then holds, too.
  uint32_t add_piece(const Branch& branch, uint32_t from, uint32_t to, std::vector<Interval>& context) {
    if (from == to) return to;
    const uint32_t begin = at_;
    at_ += to - from;
    out_.positions.insert(out_.positions.end(), branch.positions.begin() + from, branch.positions.begin() + to);
    out_.pieces.push_back({begin, at_, context});
    branch::append(context, {begin, at_});
    return to;
  }

  Rows out_;
  uint32_t at_;
};

class Preparer {
 public:
  Preparer(const model::Config& config, const branch::Lexicon& lexicon) : config_(config), lexicon_(lexicon) {}

  void open(const Group& group) {
    group_ = &group;
    start_ = nullptr;
    prompt_ = nullptr;
    if (!group.request) {
      require_tokens(group.prompt, "the prompt", config_.vocab_size);
      if (group.parallel && !lexicon_.has_tags()) {
        refuse("the model's vocabulary has no parallel tags; expected them for a parallel group");
      }
      return;
    }
    schedule::validate(*group.request, config_, lexicon_);
    if (group.request->prompt != group.prompt) refuse("its request has another prompt than the group");
    start_ = std::make_shared<branch::Prompt>(
        branch::read_prompt(*group.request, lexicon_, config_.max_position_embeddings));
    prompt_ = std::make_shared<Rows>(first_rows(start_->layout, group.prompt));
  }

  Prepared prepare(const Trajectory& trajectory) {
    require_valid(trajectory, *group_, config_.vocab_size);
    Prepared out{group_, &trajectory, start_, prompt_, start_ ? replayed(trajectory) : Rows()};
    if (!start_) read(trajectory, out);
    // a prompt's last block may reach further than a short branch that goes on in it
    const int32_t furthest =
        std::max(std::ranges::max(out.response.positions), std::ranges::max(out.prompt->positions));
    if (static_cast<uint32_t>(furthest) >= config_.max_position_embeddings) {
      throw Error(ErrorCode::context_length, "it takes " + std::to_string(furthest + 1) +
                                                 " positions; the model's context has " +
                                                 std::to_string(config_.max_position_embeddings));
    }
    return out;
  }

 private:
  Rows replayed(const Trajectory& trajectory) const {
    Replay replay(*group_->request, lexicon_, *start_, trajectory, config_.max_position_embeddings);
    while (replay.next()) {
    }
    return ChoiceRows(replay.choice(), start_->layout, trajectory.tokens).take();
  }

  void read(const Trajectory& trajectory, Prepared& out) {
    const auto& prompt = group_->prompt;
    const auto count = static_cast<uint32_t>(prompt.size());
    std::vector<int32_t> flat(prompt);
    flat.insert(flat.end(), trajectory.tokens.begin(), trajectory.tokens.end());
    const Layout layout = group_->parallel ? branch::parallel_layout(flat, lexicon_.vocabulary())
                                           : branch::plain_layout(static_cast<uint32_t>(flat.size()));
    // A response may spoil a block that the prompt left open; then the prompt itself reads otherwise.
    auto own = std::make_shared<Rows>(first_rows(layout, prompt));
    if (!prompt_ || !same(*prompt_, *own)) prompt_ = std::move(own);
    out.prompt = prompt_;
    out.response = last_rows(layout, count, trajectory.tokens);
  }

  const model::Config& config_;
  const branch::Lexicon& lexicon_;
  const Group* group_ = nullptr;
  std::shared_ptr<const branch::Prompt> start_;
  std::shared_ptr<const Rows> prompt_;
};

}  // namespace

std::vector<Prepared> prepare(std::span<const Group> groups, const model::Config& config,
                              const branch::Lexicon& lexicon) {
  std::vector<Prepared> out;
  Preparer preparer(config, lexicon);
  for (size_t g = 0; g < groups.size(); ++g) {
    std::string where = "group " + std::to_string(g);
    try {
      preparer.open(groups[g]);
      for (size_t t = 0; t < groups[g].trajectories.size(); ++t) {
        where = "group " + std::to_string(g) + ", trajectory " + std::to_string(t);
        out.push_back(preparer.prepare(groups[g].trajectories[t]));
      }
    } catch (const Error& error) {
      throw Error(error.code(), where + ": " + error.what(), error.at());
    }
  }
  return out;
}

}  // namespace npr::train
