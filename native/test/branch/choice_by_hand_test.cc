// Single blocks and single rules, token by token.
#include <algorithm>

#include "branch/budget.h"
#include "branch/choice.h"
#include "branch/words.h"
#include "check.h"

namespace {

using namespace test;
namespace engine = npr::branch;
using npr::FinishReason;
using npr::OnInvalid;

// A choice that is told what it samples.
struct Scripted {
  npr::Request request;
  engine::Choice choice;
  engine::Events events;

  explicit Scripted(npr::Request r, uint32_t max_positions = 1000)
      : request(std::move(r)), choice(request, small_lexicon(), 0, {}, max_positions) {}
  void write(engine::Branch& branch, std::initializer_list<int32_t> tokens) {
    for (const int32_t token : tokens) {
      CHECK(branch.wants_token());
      choice.accept(branch, {.token = token, .logprob = 0, .policy_logprob = 0, .top = {}}, events);
    }
  }
  std::vector<int32_t> told() const {
    std::vector<int32_t> tokens;
    for (const auto& event : events) tokens.insert(tokens.end(), event.tokens.begin(), event.tokens.end());
    return tokens;
  }
  std::string text() const {
    std::string text;
    for (const auto& event : events) {
      if (event.type == npr::Event::Type::delta) text += event.text;
    }
    return text;
  }
};

npr::Request parallel_request(OnInvalid policy = OnInvalid::constrain) {
  npr::Request request;
  request.max_tokens = 200;
  request.parallel.enabled = true;
  request.parallel.on_invalid = policy;
  return request;
}

// A whole block, token by token.
TEST(a_block_by_hand) {
  Scripted run(parallel_request());
  auto& trunk = run.choice.trunk();
  run.write(trunk, {letter_a, guideline, newline, plan, digit_0 + 3, colon, letter_a, plan_end, plan, letter_b,
                    plan_end, guideline_end});
  CHECK((trunk.tokens.back() == newline) && trunk.positions.back() == 12);
  CHECK(!trunk.wants_token());
  auto& first = *trunk.blocks[0]->branches[0];
  auto& second = *trunk.blocks[0]->branches[1];
  CHECK((first.tokens == std::vector<int32_t>{step, newline, digit_0 + 3, colon}));
  CHECK((second.tokens == std::vector<int32_t>{step, newline, digit_0 + 2, colon}));
  CHECK((first.positions == std::vector<int32_t>{12, 13, 14, 15}));
  // 188 left; forced: 1 + (4 + 2) + (4 + 2) + 2; one more is kept for </takeaway>.
  CHECK_EQ(first.left, (188u - 15 - 1) / 2);
  CHECK(first.stream == trunk.stream.child(0, 0) && second.stream == trunk.stream.child(0, 1));
  run.write(second, {letter_b, letter_b, step_end});
  CHECK((second.tokens ==
         std::vector<int32_t>{step, newline, digit_0 + 2, colon, letter_b, letter_b, step_end, newline}));
  CHECK(second.done && !trunk.wants_token());
  run.write(first, {step_end});
  CHECK((trunk.tokens[13] == takeaway && trunk.tokens[14] == newline));
  CHECK_EQ(trunk.positions[13], 19);  // after the longer branch's </step>
  CHECK_EQ(trunk.left, 188u - 3 - 6 - 8);
  run.write(trunk, {takeaway_end, letter_b});
  CHECK_EQ(trunk.critical_path, 13u + 8 + 2 + 2);
  run.write(trunk, {im_end});
  CHECK(run.choice.finished());
  CHECK_EQ(run.events.back().stop_token, int32_t{im_end});
  CHECK_EQ(run.text(),
           "a<guideline>\n<plan>3:a</plan><plan>b</plan></guideline>\n<step>\n3:<step>\n2:bb</step>\n"
           "</step>\n<takeaway>\n</takeaway>b");
}

TEST(the_end_of_sequence_in_a_branch_becomes_its_step_end) {
  Scripted run(parallel_request(OnInvalid::stop));
  auto& trunk = run.choice.trunk();
  run.write(trunk, {guideline, plan, plan_end, guideline_end});
  auto& branch = *trunk.blocks[0]->branches[0];
  run.write(branch, {letter_a, end_of_text});
  CHECK((branch.tokens == std::vector<int32_t>{step, newline, digit_0 + 1, colon, letter_a, step_end, newline}));
  CHECK_EQ(branch.sampled, 2u);
  CHECK(trunk.wants_token());
}

// What a branch may do depends on the branch, not on how far its siblings are.
TEST(min_tokens_hold_back_the_end_of_the_trunk_alone) {
  auto request = parallel_request(OnInvalid::stop);
  request.min_tokens = 40;
  request.stop_token_ids = {letter_a};
  Scripted run(request);
  auto& trunk = run.choice.trunk();
  CHECK_EQ(run.choice.mask(trunk).forbidden().size(), 2u);
  run.write(trunk, {guideline, plan, plan_end, guideline_end});
  CHECK(run.choice.mask(*trunk.blocks[0]->branches[0]).forbidden().empty());
}

// A colon may make a long number of the digits before it, and a long head of the number.
TEST(a_number_that_does_not_fit_is_not_completed) {
  auto request = parallel_request();
  request.max_tokens = 30;
  Scripted run(request);
  auto& trunk = run.choice.trunk();
  run.write(trunk, {guideline, plan, digit_0 + 1, dot, digit_0 + 2, dot, digit_0 + 3});
  const auto ends_forbidden = [&] {
    const auto mask = run.choice.mask(trunk);
    return std::ranges::any_of(mask.forbidden(),
                               [](const auto& list) { return std::ranges::find(list, int32_t{colon}) != list.end(); });
  };
  CHECK(!ends_forbidden());
  for (int i = 0; i < 3; ++i) run.write(trunk, {dot, digit_0 + 1});
  CHECK(ends_forbidden());
  run.write(trunk, {letter_a});
  CHECK(!ends_forbidden());
}

// The tag that follows shows a character to be cut short, and that completes the stop string.
TEST(a_stop_string_that_ends_with_the_stretch) {
  auto request = parallel_request();
  request.stop = {"a\xef\xbf\xbd"};
  Scripted run(request);
  run.write(run.choice.trunk(), {letter_b, letter_a, euro_head, guideline});
  CHECK(run.choice.finished());
  CHECK_EQ(run.events.back().stop_string, 0);
  CHECK_EQ(run.text(), "b");
  CHECK(run.told() == run.choice.trunk().tokens);
}

TEST(a_fault_ends_the_choice_or_is_ordinary_text) {
  for (const auto policy : {OnInvalid::stop, OnInvalid::ignore}) {
    Scripted run(parallel_request(policy));
    auto& trunk = run.choice.trunk();
    run.write(trunk, {guideline, plan, letter_a, takeaway});
    CHECK((trunk.tokens == std::vector<int32_t>{guideline, plan, letter_a, takeaway}));
    CHECK_EQ(run.choice.finished(), policy == OnInvalid::stop);
    if (policy == OnInvalid::stop) {
      CHECK(run.events.back().reason == FinishReason::invalid_structure);
      CHECK((trunk.structural == std::vector<uint8_t>{1, 1, 0, 0}));
      continue;
    }
    CHECK((trunk.structural == std::vector<uint8_t>{0, 0, 0, 0}));
    run.write(trunk, {guideline, plan, plan_end, guideline_end, letter_a});
    CHECK(trunk.blocks.empty());
    CHECK_EQ(std::count(trunk.structural.begin(), trunk.structural.end(), 1), 0);
  }
}

TEST(what_the_trunk_may_sample_in_a_guideline) {
  auto request = parallel_request();
  request.parallel.max_branches = 2;
  Scripted run(request);
  auto& trunk = run.choice.trunk();
  const auto allowed = [&] {
    std::vector<int32_t> tokens;
    const auto mask = run.choice.mask(trunk);
    for (const auto& list : mask.allowed()) tokens.insert(tokens.end(), list.begin(), list.end());
    std::ranges::sort(tokens);
    return tokens;
  };
  const std::vector<int32_t> spaces{newline, space, two_newlines};
  const auto with_spaces = [&](std::vector<int32_t> tags) {
    tags.insert(tags.end(), spaces.begin(), spaces.end());
    std::ranges::sort(tags);
    return tags;
  };
  CHECK(allowed().empty());
  run.write(trunk, {guideline});
  CHECK(allowed() == with_spaces({plan}));
  run.write(trunk, {space, space, space, newline});
  CHECK(allowed() == std::vector<int32_t>{plan});
  run.write(trunk, {plan, letter_a, plan_end});
  CHECK(allowed() == with_spaces({plan, guideline_end}));
  run.write(trunk, {plan, plan_end});
  CHECK(allowed() == with_spaces({guideline_end}));
}

// After every token of it: what has been added up so far is what the heads will be.
TEST(a_guideline_costs_what_its_block_will_take) {
  Scripted run(parallel_request());
  auto& trunk = run.choice.trunk();
  const auto& lexicon = small_lexicon();
  const size_t nl = lexicon.newline().size();
  run.write(trunk, {guideline});
  for (const int32_t token :
       std::vector<int32_t>{plan, digit_0 + 1, digit_0 + 2, dot, digit_9, colon, letter_a, plan_end, newline, plan,
                            letter_b, colon, plan_end, plan, space, digit_0, space, two_colon, plan_end}) {
    run.write(trunk, {token});
    size_t cost = trunk.machine.state() == engine::State::plan ? 2 : 1;
    cost += nl + 1 + nl + 1;
    for (const auto& number : engine::plan_numbers(trunk.guideline.plans)) {
      cost += lexicon.head(number).size() + 1 + 1 + nl;
    }
    CHECK_EQ(engine::guideline_cost(lexicon, trunk), cost);
    const auto read = engine::read_guideline(lexicon, trunk.tokens, 0);
    CHECK_EQ(read.heads, trunk.guideline.heads);
  }
}

TEST(a_guideline_that_the_prompt_left_open) {
  const std::vector<int32_t> tokens{letter_a, guideline, space, plan,  digit_0 + 3, colon,
                                    letter_b, plan_end,  space, space, newline};
  const auto between = engine::read_guideline(small_lexicon(), tokens, 1);
  CHECK(between.plans == std::vector<std::string>{"3:b"});
  CHECK_EQ(between.spaces, 3u);
  const auto within = engine::read_guideline(small_lexicon(), std::span(tokens).first(6), 1);
  CHECK(within.plans == std::vector<std::string>{"3:"});
  CHECK_EQ(within.spaces, 0u);
}

}  // namespace
