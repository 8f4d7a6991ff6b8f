// What a branch may sample next: Choice::mask() and row().
#include <algorithm>

#include "branch/budget.h"
#include "branch/choice.h"

namespace npr::branch {

namespace {
constexpr uint32_t max_spaces = 4;  // whitespace tokens between plans
}

sample::TokenMask Choice::mask(const Branch& branch) const {
  sample::TokenMask mask;
  const bool constrained = parallel() && request_.parallel.on_invalid == OnInvalid::constrain;
  // The trunk alone: what the end of a branch may depend on is the branch, not how far its siblings are.
  const bool too_early = branch.is_trunk() && usage_.completion_tokens < request_.min_tokens;
  const bool may_end = !request_.ignore_eos && !too_early && !(constrained && inside_block(branch));
  if (!may_end) mask.forbid(lexicon_.end_tokens());
  if (too_early && !(parallel() && inside_block(branch))) mask.forbid(request_.stop_token_ids);
  if (constrained && !branch.plain) constrain(branch, mask);
  return mask;
}

sample::Row Choice::row(const Branch& branch, const sample::Histogram& prompt, const float* logits, uint32_t vocab,
                        std::vector<const sample::Histogram*>& layers) const {
  layers.clear();
  for (const Branch* b = &branch; b; b = b->parent) layers.push_back(&b->seen);
  std::ranges::reverse(layers);  // the trunk first
  return {
      .logits = logits,
      .vocab = vocab,
      .params = &request_.sampling,
      .stream = branch.stream,
      .index = branch.sampled,
      .mask = mask(branch),
      .prompt = &prompt,
      .response = layers,
      .branch_sampled = branch.is_trunk() ? nullptr : &branch.own,
      .logprobs = request_.logprobs,
  };
}

void Choice::constrain(const Branch& branch, sample::TokenMask& mask) const {
  const uint32_t left = room(branch);
  const bool block_fits = branch.machine.depth() < request_.parallel.max_depth && left >= smallest_block(lexicon_);
  switch (branch.machine.state()) {
    case State::trunk:
      mask.forbid(block_fits ? lexicon_.tags_except(Tag::guideline) : lexicon_.tags());
      return;
    case State::step:
      mask.forbid(block_fits ? lexicon_.not_in_step() : lexicon_.tags_except(Tag::step_end));
      return;
    case State::guideline: {
      const uint32_t cost = guideline_cost(lexicon_, branch);
      const bool first = branch.machine.plans() == 0;
      const bool more = branch.machine.plans() < request_.parallel.max_branches;
      if (!first) mask.allow(lexicon_.only(Tag::guideline_end));
      if (first || (more && left >= cost + plan_cost(lexicon_, branch))) mask.allow(lexicon_.only(Tag::plan));
      const uint32_t needed = first ? smallest_block(lexicon_) - 1 : cost;
      if (branch.guideline.spaces < max_spaces && left > needed) mask.allow(lexicon_.whitespace());
      return;
    }
    case State::plan: {
      const uint32_t cost = guideline_cost(lexicon_, branch);
      if (left <= cost) {
        mask.allow(lexicon_.only(Tag::plan_end));
        return;
      }
      mask.forbid(lexicon_.tags_except(Tag::plan_end));
      // A long number makes a long head, which may not fit any more.
      if (left <= cost + number_cost(lexicon_, branch)) mask.forbid(lexicon_.number_ends());
      return;
    }
    case State::takeaway:
      // A trunk may end in its takeaway; a branch has to come back to its step.
      if (!branch.is_trunk() && left <= 1) {
        mask.allow(lexicon_.only(Tag::takeaway_end));
      } else {
        mask.forbid(lexicon_.tags_except(Tag::takeaway_end));
      }
      return;
    case State::between:
    case State::closed:
      return;  // the engine forces what comes
  }
}

}  // namespace npr::branch
