#include "branch/choice.h"

#include <algorithm>

#include "branch/budget.h"

namespace npr::branch {

namespace {

bool holds(const std::vector<int32_t>& list, int32_t token) { return std::ranges::find(list, token) != list.end(); }

const text::StopSet& no_stops() {
  static const text::StopSet none{std::span<const std::string>()};
  return none;
}

std::string whole_characters(std::string_view bytes) {
  text::Utf8Assembler assembler;
  std::string out;
  assembler.push(bytes, out);
  assembler.flush(out);
  return out;
}

std::vector<int32_t> closing(const Lexicon& lexicon, Tag tag) {
  std::vector<int32_t> tokens{lexicon.token(tag)};
  tokens.insert(tokens.end(), lexicon.newline().begin(), lexicon.newline().end());
  return tokens;
}

}  // namespace

Choice::Choice(const Request& request, const Lexicon& lexicon, uint32_t index, const Start& start,
               uint32_t max_positions)
    : request_(request),
      lexicon_(lexicon),
      index_(index),
      counts_seen_(request.sampling.repetition_penalty != 1.0f || request.sampling.presence_penalty != 0.0f ||
                   request.sampling.frequency_penalty != 0.0f),
      counts_own_(request.sampling.branch_repetition_penalty != 1.0f),
      stops_(request.stop),
      trunk_(std::make_unique<Branch>(sample::Stream::root(request.sampling.seed, index), no_stops())) {
  trunk_->machine = start.machine;
  trunk_->plain = start.plain;
  trunk_->guideline = start.guideline;
  trunk_->next_position = start.next_position;
  trunk_->position_limit = static_cast<int32_t>(max_positions);
  trunk_->left = request.max_tokens;
  trunk_->channel = inside_block(*trunk_) ? Channel::block : Channel::content;
  if (trunk_->channel == Channel::content) trunk_->text = text::TextStream(stops_);
}

// --- what happens to a token ---

void Choice::accept(Branch& branch, const sample::Sampled& sampled, Events& out) {
  ++branch.sampled;
  if (lexicon_.ends(sampled.token)) return accept_end(branch, sampled, out);

  Tag tag = branch.plain ? Tag::none : lexicon_.tag(sampled.token);
  if (!allowed(branch, tag)) {
    if (refuse(branch, sampled, out)) return;
    tag = Tag::none;
  }
  const bool was_inside = inside_block(branch);
  put(branch, sampled.token, parallel() && tag != Tag::none, false);
  --branch.left;
  branch.machine.apply(tag);
  const bool inside = was_inside || inside_block(branch);
  const bool stop_token = !inside && holds(request_.stop_token_ids, sampled.token);
  switch_channel(branch, inside ? Channel::block : Channel::content, out);
  report(branch, {&sampled.token, 1}, false, &sampled, !stop_token, out);
  if (stop_token) return finish(FinishReason::stop, out, sampled.token);
  if (branch.text.stopped() >= 0) return finish(FinishReason::stop, out, -1, branch.text.stopped());
  if (parallel()) follow(branch, tag, sampled.token, out);
  if (!finished_ && branch.wants_token() && room(branch) == 0) cut(branch, out);
}

bool Choice::allowed(const Branch& branch, Tag tag) const {
  if (tag == Tag::none) return true;
  if (!branch.machine.allows(tag)) return false;
  if (!parallel()) return true;
  if (tag == Tag::guideline) return branch.machine.depth() < request_.parallel.max_depth;
  if (tag == Tag::plan) return branch.machine.plans() < request_.parallel.max_branches;
  return tag != Tag::step && tag != Tag::takeaway;
}

bool Choice::refuse(Branch& branch, const sample::Sampled& sampled, Events& out) {
  if (!parallel()) {  // a block that was only observed
    branch.machine = TagMachine();
    branch.plain = true;
    return false;
  }
  if (request_.parallel.on_invalid != OnInvalid::ignore) {
    put(branch, sampled.token, false, false);
    report(branch, {&sampled.token, 1}, false, &sampled, !lexicon_.ends(sampled.token), out);
    finish(FinishReason::invalid_structure, out);
    return true;
  }
  const State state = branch.machine.state();
  if (state == State::guideline || state == State::plan) drop_guideline(branch);
  if (branch.machine.state() == State::trunk) branch.plain = true;
  return false;
}

void Choice::accept_end(Branch& branch, const sample::Sampled& sampled, Events& out) {
  const State state = branch.machine.state();
  if (parallel() && state != State::trunk && state != State::step && refuse(branch, sampled, out)) return;
  // In a branch the end of sequence is not kept: the engine writes the </step> that it stands for.
  if (!branch.is_trunk()) return close(branch, BranchEnd::stop, out);
  put(branch, sampled.token, false, false);
  flush(branch, out);
  report(branch, {&sampled.token, 1}, false, &sampled, false, out);
  finish(FinishReason::stop, out, sampled.token);
}

void Choice::follow(Branch& branch, Tag tag, int32_t token, Events& out) {
  auto& guideline = branch.guideline;
  switch (tag) {
    case Tag::guideline:
      guideline = {static_cast<uint32_t>(branch.tokens.size()) - 1, {}, 0};
      return;
    case Tag::plan:
      guideline.plans.emplace_back();
      return;
    case Tag::plan_end:
      guideline.spaces = 0;
      return;
    case Tag::guideline_end:
      return fork(branch, out);
    case Tag::step_end:
      return close(branch, BranchEnd::step_end, out);
    default:
      break;
  }
  if (branch.machine.state() == State::plan) guideline.plans.back() += lexicon_.vocabulary().token(token);
  if (branch.machine.state() == State::guideline) ++guideline.spaces;
}

// --- blocks ---

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
    opened.plans.emplace_back(numbers[i], whole_characters(parent.guideline.plans[i]));
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
  flush(branch, out);
  branch.done = true;

  Event completed = event(Event::Type::branch_completed, branch);
  completed.block = branch.block->id;
  completed.end = end;
  completed.count = total_tokens(branch);
  out.push_back(std::move(completed));
  if (--branch.block->running == 0) join(*branch.parent, *branch.block, out);
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

void Choice::finish(FinishReason reason, Events& out, int32_t stop_token, int32_t stop_string) {
  if (finished_) return;
  finished_ = true;
  const auto settle = [&](auto&& self, Branch& branch) -> void {
    if (Block* block = branch.open_block()) {
      for (auto& child : block->branches) self(self, *child);
    }
    if (!branch.done && stop_string < 0) flush(branch, out);
    branch.done = true;
  };
  settle(settle, *trunk_);

  Event finished = event(Event::Type::choice_finished, *trunk_);
  finished.reason = reason;
  finished.stop_token = stop_token;
  finished.stop_string = stop_string;
  finished.usage = usage_;
  out.push_back(std::move(finished));
}

// --- tokens and text ---

void Choice::put(Branch& branch, int32_t token, bool structural, bool forced) {
  branch.tokens.push_back(token);
  branch.positions.push_back(branch.next_position++);
  branch.structural.push_back(structural);
  ++usage_.completion_tokens;
  usage_.forced_tokens += forced;
  usage_.critical_path_tokens = std::max(usage_.critical_path_tokens, ++branch.critical_path);
  if (counts_seen_) branch.seen.add(token);
  if (counts_own_ && !forced) branch.own.add(token);
}

void Choice::force(Branch& branch, Tag tag, std::span<const int32_t> tokens, Events& out) {
  branch.machine.apply(tag);
  for (size_t i = 0; i < tokens.size(); ++i) put(branch, tokens[i], i == 0 && tag != Tag::none, true);
  report(branch, tokens, true, nullptr, true, out);
}

void Choice::report(Branch& branch, std::span<const int32_t> tokens, bool forced, const sample::Sampled* sampled,
                    bool text, Events& out) {
  Event delta = event(Event::Type::delta, branch);
  delta.channel = branch.channel;
  delta.forced = forced;
  delta.tokens.assign(tokens.begin(), tokens.end());
  for (const int32_t token : tokens) {
    if (text) delta.text += branch.text.push(lexicon_.vocabulary().token(token));
    if (request_.logprobs < 0 && !request_.policy_logprobs) continue;
    TokenLogprob logprob{.token = token};
    if (sampled) {
      logprob.logprob = sampled->logprob;
      logprob.policy_logprob = sampled->policy_logprob;
      logprob.top = sampled->top;
    }
    delta.logprobs.push_back(std::move(logprob));
  }
  out.push_back(std::move(delta));
}

void Choice::switch_channel(Branch& branch, Channel channel, Events& out) {
  if (branch.channel == channel) return;
  flush(branch, out);
  // A character cut short by the tag reads U+FFFD, and that may be what a stop string waits for.
  if (branch.text.stopped() >= 0) return;
  branch.channel = channel;
  branch.text = text::TextStream(channel == Channel::content ? stops_ : no_stops());
}

void Choice::flush(Branch& branch, Events& out) {
  auto rest = branch.text.flush();
  if (rest.empty()) return;
  Event delta = event(Event::Type::delta, branch);
  delta.channel = branch.channel;
  delta.text = std::move(rest);
  out.push_back(std::move(delta));
}

Event Choice::event(Event::Type type, const Branch& branch) const {
  Event out{.type = type};
  out.request = request_.id;
  out.choice = index_;
  out.branch = branch.id;
  return out;
}

}  // namespace npr::branch
