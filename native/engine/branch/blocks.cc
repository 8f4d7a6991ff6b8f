// How blocks open, fork, close and join: the structural half of Choice.
#include <algorithm>

#include "branch/budget.h"
#include "branch/choice.h"
#include "text/utf8.h"

namespace npr::branch {

namespace {

std::vector<int32_t> closing(const Lexicon& lexicon, Tag tag) {
  std::vector<int32_t> tokens{lexicon.token(tag)};
  tokens.insert(tokens.end(), lexicon.newline().begin(), lexicon.newline().end());
  return tokens;
}

}  // namespace

void Choice::fork(Branch& parent, Events& out) {
  const auto numbers = plan_numbers(parent.guideline.plans);
  const uint32_t each = share(lexicon_, numbers, parent.left, request_.parallel.max_branch_tokens);
  size_t longest_head = 0;
  for (const auto& number : numbers) longest_head = std::max(longest_head, lexicon_.head(number).size());
  const int64_t limit = int64_t{parent.position_limit} - closing_positions(lexicon_);
  if (!each || parent.next_position + static_cast<int64_t>(longest_head) >= limit) return cut(parent, out);

  auto block = std::make_unique<Block>();
  const int32_t start = parent.next_position;
  force(parent, Tag::none, lexicon_.newline(), out);
  block->id = next_block_++;
  block->fork_at = static_cast<uint32_t>(parent.tokens.size());
  block->start_position = start;
  ++usage_.blocks;

  Event opened = event(Event::Type::block_opened, parent);
  opened.block = block->id;
  for (size_t i = 0; i < numbers.size(); ++i) {
    opened.plans.emplace_back(numbers[i], text::whole_characters(parent.guideline.plans[i]));
  }
  out.push_back(std::move(opened));
  parent.blocks.push_back(std::move(block));
  for (const auto& number : numbers) open_branch(parent, *parent.blocks.back(), number, each, out);
}

void Choice::open_branch(Branch& parent, Block& block, std::string number, uint32_t share, Events& out) {
  const auto index = static_cast<uint32_t>(block.branches.size());
  const auto ordinal = static_cast<uint32_t>(parent.blocks.size()) - 1;
  auto branch = std::make_unique<Branch>(parent.stream.child(ordinal, index), no_stops());
  branch->id = next_branch_++;
  branch->parent = &parent;
  branch->block = &block;
  branch->index = index;
  branch->number = std::move(number);
  branch->machine = parent.machine;
  branch->next_position = block.start_position;
  branch->position_limit = parent.position_limit - static_cast<int32_t>(closing_positions(lexicon_));
  branch->left = share;
  branch->critical_path = parent.critical_path;
  branch->channel = Channel::block;
  ++block.running;
  ++usage_.branches;

  Event created = event(Event::Type::branch_created, *branch);
  created.parent = parent.id;
  created.block = block.id;
  created.index = index;
  created.text = branch->number;
  out.push_back(std::move(created));
  block.branches.push_back(std::move(branch));
  auto& opened = *block.branches.back();
  force(opened, Tag::step, lexicon_.head(opened.number), out);
}

void Choice::cut(Branch& branch, Events& out) {
  if (branch.is_trunk()) return finish(FinishReason::length, out);
  close(branch, BranchEnd::length, out);
}

void Choice::close(Branch& branch, BranchEnd end, Events& out) {
  if (end == BranchEnd::step_end) {
    branch.step_end_position = branch.next_position - 1;
    force(branch, Tag::none, lexicon_.newline(), out);
  } else {
    // A block inside that has not come to its end is no block.
    while (branch.machine.state() != State::step) {
      const bool in_takeaway = branch.machine.state() == State::takeaway;
      in_takeaway ? branch.machine.drop_block() : drop_guideline(branch);
    }
    branch.step_end_position = branch.next_position;
    force(branch, Tag::step_end, closing(lexicon_, Tag::step_end), out);
  }
  complete(branch, end, out);
}

void Choice::complete(Branch& branch, BranchEnd end, Events& out) {
  flush(branch, out);
  branch.done = true;
  branch.faulty = end == BranchEnd::invalid_structure;

  Event completed = event(Event::Type::branch_completed, branch);
  completed.block = branch.block->id;
  completed.end = end;
  completed.count = total_tokens(branch);
  out.push_back(std::move(completed));

  Block& block = *branch.block;
  if (--block.running) return;
  const bool faulty = std::ranges::any_of(block.branches, [](const auto& each) { return each->faulty; });
  faulty ? fault(*branch.parent, out) : join(*branch.parent, block, out);
}

// A fault ends its branch where it stands. The siblings come to their own ends first: how far each has come by then is
// the scheduler's affair, and the response must not depend on it.
void Choice::fault(Branch& branch, Events& out) {
  if (branch.is_trunk()) return finish(FinishReason::invalid_structure, out);
  complete(branch, BranchEnd::invalid_structure, out);
}

void Choice::join(Branch& parent, Block& block, Events& out) {
  const auto head = closing(lexicon_, Tag::takeaway);
  auto spent = static_cast<uint32_t>(lexicon_.newline().size() + head.size());
  int32_t far = 0;
  for (const auto& child : block.branches) {
    far = std::max(far, child->step_end_position);
    spent += total_tokens(*child);
    parent.critical_path = std::max(parent.critical_path, child->critical_path);
    parent.seen.merge(child->seen);
  }
  ensure(parent.left > spent, "a block within the tokens that were dealt to it");
  parent.left -= spent;
  parent.next_position = far + 1;
  parent.machine.close_all_steps();
  block.joined = true;

  Event joined = event(Event::Type::block_joined, parent);
  joined.block = block.id;
  out.push_back(std::move(joined));
  force(parent, Tag::takeaway, head, out);
}

void Choice::drop_guideline(Branch& branch) {
  std::fill(branch.structural.begin() + branch.guideline.at, branch.structural.end(), uint8_t{0});
  branch.machine.drop_block();
}

}  // namespace npr::branch
