#include "schedule/batch_builder.h"

#include <algorithm>

namespace npr::schedule {

using branch::Block;
using branch::Branch;
using branch::Choice;
using compute::Path;
using compute::Slot;

namespace {

// The first `tokens` of a path.
Path prefix(const Path& path, uint32_t tokens) {
  Path out;
  for (const auto& run : path) {
    if (!tokens) break;
    out.push_back({run.begin, std::min(run.count, tokens)});
    tokens -= out.back().count;
  }
  return out;
}

// Appends the last `tokens` of `path`, found from its end: a trunk may be as long as it likes.
void append_suffix(Path& out, const Path& path, uint32_t tokens) {
  auto run = path.end();
  uint32_t found = 0;
  while (found < tokens) found += (--run)->count;
  for (uint32_t skip = found - tokens; run != path.end(); ++run, skip = 0) {
    const compute::Run rest{run->begin + skip, run->count - skip};
    if (!out.empty() && out.back().begin + out.back().count == rest.begin) {
      out.back().count += rest.count;
    } else {
      out.push_back(rest);
    }
  }
}

}  // namespace

void BatchBuilder::clear() {
  batch_ = {};
  growing_.clear();
  paths_.clear();
  samples_.clear();
  scores_.clear();
}

void BatchBuilder::add(Active& active, uint32_t rows) {
  if (!active.prompt_done) return add_prompt(active, rows);
  rows_left_ = rows;
  for (auto& choice : active.choices) {
    if (choice->finished()) continue;
    Branch& trunk = choice->trunk();
    if (!trunk.has_context) {
      trunk.path = copy(active.path);
      trunk.path_length = active.prompt_tokens();
      trunk.has_context = true;
    }
    if (!grow(active, *choice, trunk)) return;
  }
}

// Appends in flat order, so that whatever a token sees is computed or comes before it in this batch. False: out of
// rows.
bool BatchBuilder::grow(Active& active, Choice& choice, Branch& branch) {
  // What an earlier step merged no batch reads any more.
  for (; branch.dropped < branch.merged; ++branch.dropped) {
    for (auto& child : branch.blocks[branch.dropped]->branches) drop(child->path);
  }
  for (; branch.merged < branch.blocks.size(); ++branch.merged) {
    Block& block = *branch.blocks[branch.merged];
    if (!append(branch, block.fork_at)) return false;
    for (auto& child : block.branches) {
      if (!child->has_context) {
        child->path = copy(branch.path);
        child->path_length = branch.path_length;
        child->has_context = true;
      }
      if (!grow(active, choice, *child)) return false;
    }
    if (!block.joined) return true;
    merge(branch, block);
  }
  const size_t known = branch.slots.size();
  if (!append(branch, static_cast<uint32_t>(branch.tokens.size()))) return false;
  if (branch.slots.size() > known && branch.wants_token()) {
    samples_.push_back({&active, &choice, &branch, want_logits(batch_.rows() - 1)});
  }
  return true;
}

// With room for what a branch will add: grown by doubling, a long path would at once be copied again.
Path BatchBuilder::copy(const Path& path) {
  Path out;
  if (!spare_.empty()) {
    out = std::move(spare_.back());
    spare_.pop_back();
  }
  out.reserve(path.size() + path.size() / 8 + 16);
  out.assign(path.begin(), path.end());
  return out;
}

void BatchBuilder::drop(Path& path) {
  constexpr size_t most = 64;
  if (spare_.size() < most) spare_.push_back(std::move(path));
  path = {};
}

bool BatchBuilder::append(Branch& branch, uint32_t end) {
  const auto begin = static_cast<uint32_t>(branch.slots.size());
  if (begin >= end) return true;
  const uint32_t rows = std::min(end - begin, rows_left_);
  if (!rows) return false;
  rows_left_ -= rows;

  std::optional<Slot> after;
  if (begin) {
    after = branch.slots.back();
  } else if (branch.is_trunk()) {
    after = branch.path.back().begin + branch.path.back().count - 1;
  }
  take(rows, after, branch.slots);
  kv::append(branch.path, &branch.slots[begin], rows);
  branch.path_length += rows;
  for (uint32_t i = begin; i < begin + rows; ++i) {
    batch_.tokens.push_back(branch.tokens[i]);
    batch_.positions.push_back(branch.positions[i]);
    batch_.slots.push_back(branch.slots[i]);
  }
  growing_.emplace_back(static_cast<uint32_t>(batch_.sequences.size()), &branch);
  batch_.sequences.push_back({{}, branch.path_length, rows});
  return begin + rows == end;
}

void BatchBuilder::merge(Branch& branch, const Block& block) {
  const uint32_t context = branch.path_length;
  for (const auto& child : block.branches) {
    const uint32_t own = child->path_length - context;
    append_suffix(branch.path, child->path, own);
    branch.path_length += own;
  }
}

void BatchBuilder::add_prompt(Active& active, uint32_t rows) {
  const auto begin = static_cast<uint32_t>(active.slots.size());
  const uint32_t end = begin + rows;
  std::optional<Slot> after;
  if (begin) after = active.slots.back();
  take(rows, after, active.slots);

  const auto& pieces = active.prompt.layout.pieces;
  auto piece = std::ranges::upper_bound(pieces, begin, {}, &branch::Piece::begin) - 1;
  for (uint32_t at = begin; at < end; ++piece) {
    const uint32_t stop = std::min(end, piece->end);
    Path& path = paths_.emplace_back();
    for (const auto& [from, to] : piece->context) kv::append(path, &active.slots[from], to - from);
    kv::append(path, &active.slots[piece->begin], stop - piece->begin);
    batch_.sequences.push_back({path, kv::length(path), stop - at});
    for (; at < stop; ++at) {
      batch_.tokens.push_back(active.request.prompt[at]);
      batch_.positions.push_back(active.prompt.layout.positions[at]);
      batch_.slots.push_back(active.slots[at]);
      // A prompt computed anew after a preemption is not scored again.
      if (active.scores_prompt() && at + 1 == active.scored) {
        scores_.push_back({&active, active.scored++, want_logits(batch_.rows() - 1)});
      }
    }
  }
  if (end < active.prompt_tokens()) return;
  const auto starts = [](const auto& choice) { return choice->trunk().tokens.empty() && !choice->finished(); };
  if (active.request.max_tokens && std::ranges::any_of(active.choices, starts)) {
    const uint32_t logits = want_logits(batch_.rows() - 1);
    for (auto& choice : active.choices) {
      if (starts(choice)) samples_.push_back({&active, choice.get(), &choice->trunk(), logits});
    }
  }
}

// A full cache leaves but the odd slots at the ends of sequences free; those who take them read one key a tile. Tiles
// that those who run hold slots of do not become whole: where that is all of them, the cache gives whatever it has and
// this ends.
void BatchBuilder::take(uint32_t rows, std::optional<Slot> after, std::vector<Slot>& slots) {
  constexpr uint32_t tile = kv::SlotPool::tile;
  while (pool_.whole_tiles() < pool_.tiles_for(rows, after) && tree_.evict(tile)) {
  }
  pool_.take(rows, after, slots);
}

uint32_t BatchBuilder::want_logits(uint32_t row) {
  batch_.logit_rows.push_back(row);
  return static_cast<uint32_t>(batch_.logit_rows.size()) - 1;
}

const model::Batch& BatchBuilder::finish() {
  for (const auto& [index, branch] : growing_) {
    auto& sequence = batch_.sequences[index];
    const bool grew = branch->path_length > sequence.length;
    sequence.path = grew ? paths_.emplace_back(prefix(branch->path, sequence.length)) : branch->path;
  }
  return batch_;
}

}  // namespace npr::schedule
