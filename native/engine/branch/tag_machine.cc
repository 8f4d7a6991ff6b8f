#include "branch/tag_machine.h"

#include "error.h"

namespace npr::branch {

namespace {
constexpr int32_t text::Tags::*members[] = {&text::Tags::guideline, &text::Tags::guideline_end, &text::Tags::plan,
                                            &text::Tags::plan_end,  &text::Tags::step,          &text::Tags::step_end,
                                            &text::Tags::takeaway,  &text::Tags::takeaway_end};
}

Tag tag_of(const text::Tags& tags, int32_t token) {
  for (uint8_t i = 0; i < std::size(members); ++i) {
    if (tags.*members[i] == token) return static_cast<Tag>(i);
  }
  return Tag::none;
}

int32_t token_of(const text::Tags& tags, Tag tag) { return tags.*members[static_cast<uint8_t>(tag)]; }

bool TagMachine::allows(Tag tag) const {
  const State s = state();
  switch (tag) {
    case Tag::guideline:
      return s == State::trunk || s == State::step;
    case Tag::plan:
      return s == State::guideline;
    case Tag::plan_end:
      return s == State::plan;
    case Tag::guideline_end:
      return s == State::guideline && plans() > 0;
    case Tag::step:
      return (s == State::between || s == State::closed) && steps() < plans();
    case Tag::step_end:
      return s == State::step;
    case Tag::takeaway:
      return s == State::closed && steps() == plans();
    case Tag::takeaway_end:
      return s == State::takeaway;
    case Tag::none:
      return true;
  }
  return false;
}

void TagMachine::apply(Tag tag) {
  ensure(allows(tag), "a tag that its state allows");
  switch (tag) {
    case Tag::guideline:
      open_.push_back({State::guideline, 0, 0});
      return;
    case Tag::plan:
      open_.back().state = State::plan;
      ++open_.back().plans;
      return;
    case Tag::plan_end:
      open_.back().state = State::guideline;
      return;
    case Tag::guideline_end:
      open_.back().state = State::between;
      return;
    case Tag::step:
      open_.back().state = State::step;
      ++open_.back().steps;
      return;
    case Tag::step_end:
      open_.back().state = State::closed;
      return;
    case Tag::takeaway:
      open_.back().state = State::takeaway;
      return;
    case Tag::takeaway_end:
      open_.pop_back();
      return;
    case Tag::none:
      return;
  }
}

void TagMachine::close_all_steps() {
  ensure(state() == State::between, "an open block whose branches are joined");
  open_.back().steps = open_.back().plans;
  open_.back().state = State::closed;
}

}  // namespace npr::branch
