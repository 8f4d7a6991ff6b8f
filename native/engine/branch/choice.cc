#include "branch/choice.h"

#include <algorithm>

#include "branch/budget.h"

namespace npr::branch {

namespace {

bool holds(const std::vector<int32_t>& list, int32_t token) { return std::ranges::find(list, token) != list.end(); }

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
  if (trunk_->channel == Channel::content || !parallel()) trunk_->text = text::TextStream(stops_);
}

const text::StopSet& Choice::no_stops() {
  static const text::StopSet none{std::span<const std::string>()};
  return none;
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
  // Blocks shield their text from stops; what was only observed is no block.
  const bool shielded = inside && parallel();
  const bool stop_token = !shielded && holds(request_.stop_token_ids, sampled.token);
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
    fault(branch, out);
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
  // The U+FFFD of a character cut short may complete a stop string.
  if (branch.text.stopped() >= 0) return finish(FinishReason::stop, out, -1, branch.text.stopped());
  finish(FinishReason::stop, out, sampled.token);
}

void Choice::follow(Branch& branch, Tag tag, int32_t token, Events& out) {
  auto& guideline = branch.guideline;
  switch (tag) {
    case Tag::guideline:
      guideline = {.at = static_cast<uint32_t>(branch.tokens.size()) - 1};
      return;
    case Tag::plan:
      guideline.plans.emplace_back();
      return;
    case Tag::plan_end:
      guideline.close_plan(lexicon_);
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
    if (request_.policy_logprobs) delta.policy_logprobs.push_back(sampled ? sampled->policy_logprob : 0.0f);
    if (request_.logprobs < 0) continue;
    TokenLogprob logprob{.token = token};
    if (sampled) {
      logprob.logprob = sampled->logprob;
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
  branch.text = text::TextStream(channel == Channel::content || !parallel() ? stops_ : no_stops());
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
