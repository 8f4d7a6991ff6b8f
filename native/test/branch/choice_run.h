// A choice driven by a random policy in place of a model, and what its events said.
#pragma once
#include <algorithm>
#include <bit>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "branch/choice.h"
#include "branch/layout.h"
#include "branch/sequences.h"
#include "branch/words.h"
#include "check.h"

namespace test {

namespace engine = npr::branch;
using npr::Event;

// One request of one choice, with how its policy likes to write.
struct Task {
  npr::Request request;
  engine::Layout layout;  // of the prompt
  uint32_t max_positions = 1u << 20;
  double tag_weight = 1, wild_weight = 0, end_weight = 0.2;  // of tags that may come, of others, of end tokens

  engine::Start start() const {
    engine::Start out;
    out.machine = layout.machine;
    out.plain = layout.plain;
    out.next_position = layout.next_position;
    if (layout.machine.depth()) {
      out.guideline = engine::read_guideline(small_lexicon(), request.prompt, layout.open_block);
    }
    return out;
  }
};

// Which of the branches that want a token comes next.
enum class Order { random, first, last, in_turn };

// What events told of a branch.
struct Told {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> forced, channels;
  std::vector<std::string> texts{""};  // before its first block, between it and the second, ...
  std::string content;                 // text of the content channel
  std::optional<npr::BranchEnd> end;
};

class Run {
 public:
  explicit Run(const Task& task)
      : task_(task), choice_(task_.request, small_lexicon(), 0, task_.start(), task_.max_positions) {}
  Run(const Run&) = delete;

  // Called with each branch as it was when its token was sampled.
  std::function<void(const engine::Choice&, const engine::Branch&, int32_t)> observe;

  // cancel_after: tokens; 0 for never.
  void go(Order order, uint32_t seed, uint32_t cancel_after = 0) {
    std::mt19937 random(seed);
    size_t turn = 0;
    uint32_t accepted = 0;
    while (!choice_.finished()) {
      std::vector<engine::Branch*> wanting;
      collect(choice_.trunk(), wanting);
      CHECK(!wanting.empty());
      size_t pick = 0;
      if (order == Order::random) pick = random() % wanting.size();
      if (order == Order::last) pick = wanting.size() - 1;
      if (order == Order::in_turn) pick = turn++ % wanting.size();
      auto& branch = *wanting[pick];
      engine::Events out;
      const auto sampled = sample(branch);
      if (observe) observe(choice_, branch, sampled.token);
      choice_.accept(branch, sampled, out);
      last_ = {&branch, sampled.token};
      if (++accepted == cancel_after) choice_.finish(npr::FinishReason::cancelled, out);
      for (const auto& event : out) hear(event);
    }
  }

  const Task& task() const { return task_; }
  const engine::Choice& choice() const { return choice_; }
  const Event& finished() const { return finished_; }
  const std::map<uint32_t, Told>& told() const { return told_; }
  const Told& told(const engine::Branch& branch) const { return told_.at(branch.id); }
  std::pair<const engine::Branch*, int32_t> last() const { return last_; }

 private:
  static void collect(engine::Branch& branch, std::vector<engine::Branch*>& out) {
    if (auto* block = branch.open_block()) {
      for (auto& child : block->branches) collect(*child, out);
    } else if (branch.wants_token()) {
      out.push_back(&branch);
    }
  }

  // Depends on the branch's stream and its own tokens alone, and takes only what the mask allows.
  npr::sample::Sampled sample(const engine::Branch& branch) {
    const auto mask = choice_.mask(branch);
    std::vector<double> weights(words, mask.restricted() ? 0 : 1);
    for (const auto& list : mask.allowed()) {
      for (const int32_t token : list) weights[static_cast<size_t>(token)] = 1;
    }
    for (const auto& list : mask.forbidden()) {
      for (const int32_t token : list) weights[static_cast<size_t>(token)] = 0;
    }
    CHECK(std::ranges::any_of(weights, [](double w) { return w > 0; }));
    double total = 0;
    for (int32_t token = 0; token < words; ++token) {
      auto& weight = weights[static_cast<size_t>(token)];
      if (is_tag(token)) {
        weight *= branch.machine.allows(small_lexicon().tag(token)) ? task_.tag_weight : task_.wild_weight;
      } else if (small_lexicon().ends(token)) {
        weight *= task_.end_weight;
      } else if (token == im_start || token == assistant) {
        weight *= 0.1;
      }
      total += weight;
    }
    if (total == 0) {  // nothing that the policy likes may come
      for (const auto& list : mask.allowed()) {
        for (const int32_t token : list) total += weights[static_cast<size_t>(token)] = 1;
      }
    }
    double at = branch.stream.uniform(branch.sampled) * total;
    int32_t chosen = -1;
    for (int32_t token = 0; token < words && at >= 0; ++token) {
      const double weight = weights[static_cast<size_t>(token)];
      if (weight > 0) chosen = token;
      at -= weight;
    }
    return {.token = chosen, .logprob = -1.5f, .policy_logprob = -1.25f, .top = {}};
  }

  void hear(const Event& event) {
    CHECK(!over_);
    Told& told = told_[event.branch];
    switch (event.type) {
      case Event::Type::delta: {
        told.tokens.insert(told.tokens.end(), event.tokens.begin(), event.tokens.end());
        told.forced.resize(told.tokens.size(), event.forced);
        told.channels.resize(told.tokens.size(), static_cast<uint8_t>(event.channel));
        told.texts.back() += event.text;
        if (event.channel == npr::Channel::content) told.content += event.text;
        CHECK_EQ(event.logprobs.size(), task_.request.logprobs >= 0 ? event.tokens.size() : 0);
        for (const auto& logprob : event.logprobs) CHECK_EQ(logprob.logprob, event.forced ? 0.0f : -1.5f);
        CHECK_EQ(event.policy_logprobs.size(), task_.request.policy_logprobs ? event.tokens.size() : 0);
        for (const float logprob : event.policy_logprobs) CHECK_EQ(logprob, event.forced ? 0.0f : -1.25f);
        return;
      }
      case Event::Type::block_opened:
        plans_[event.block] = event.plans;
        return;
      case Event::Type::branch_created:
        CHECK(told.tokens.empty());
        CHECK_EQ(event.text, plans_.at(event.block).at(event.index).first);
        if (event.index == 0) told_.at(event.parent).texts.emplace_back();
        return;
      case Event::Type::branch_completed:
        CHECK(!told.end);
        told.end = event.end;
        return;
      case Event::Type::block_joined:
        return;
      case Event::Type::choice_finished:
        finished_ = event;
        over_ = true;
        return;
      default:
        CHECK(!"an event of a choice");
    }
  }

  Task task_;
  engine::Choice choice_;
  std::map<uint32_t, Told> told_{{0, {}}};
  std::map<uint32_t, std::vector<std::pair<std::string, std::string>>> plans_;
  Event finished_{.type = Event::Type::failed};
  bool over_ = false;
  std::pair<const engine::Branch*, int32_t> last_;
};

// A prompt that ends in an open turn of the assistant, on the trunk, perhaps within a guideline or a takeaway.
inline std::vector<int32_t> random_prompt(SequenceMaker& make) {
  const auto& vocabulary = small_lexicon().vocabulary();
  if (make.below(2)) return {im_start, letter_a, im_end, im_start, assistant, newline};
  for (;;) {
    auto tokens = make.below(4) ? make.beginning() : make.spoilt();
    const auto turns = engine::assistant_turns(tokens, vocabulary);
    if (turns.empty() || turns.back().end != tokens.size()) continue;
    const auto layout = engine::parallel_layout(tokens, vocabulary);
    const auto state = layout.machine.state();
    if (layout.machine.depth() > 1 || state == engine::State::between || state == engine::State::step ||
        state == engine::State::closed) {
      continue;
    }
    return tokens;
  }
}

inline Task random_task(uint32_t seed, npr::OnInvalid policy) {
  SequenceMaker make(seed);
  const auto one_of = [&](std::initializer_list<uint32_t> list) { return list.begin()[make.below(list.size())]; };
  Task task;
  auto& request = task.request;
  request.prompt = random_prompt(make);
  request.sampling.seed = seed;
  request.max_tokens = 1 + make.below(one_of({4, 40, 80, 80, 160, 400}));
  request.parallel.enabled = true;
  request.parallel.on_invalid = policy;
  request.parallel.max_branches = one_of({1, 2, 3, 5, 16});
  request.parallel.max_depth = one_of({1, 2, 2, 3});
  request.parallel.max_branch_tokens = make.below(3) ? 0 : 1 + make.below(one_of({3, 30}));
  request.min_tokens = make.below(3) ? 0 : make.below(request.max_tokens + 1);
  request.ignore_eos = make.below(4) == 0;
  request.logprobs = static_cast<int32_t>(make.below(3)) - 1;
  request.policy_logprobs = make.below(2);
  request.sampling.presence_penalty = make.below(2) ? 0.5f : 0;
  request.sampling.branch_repetition_penalty = make.below(2) ? 1.02f : 1;
  if (make.below(3) == 0) {
    const std::vector<std::string> stops{"a\n", "ab", "b\xe2\x82\xac", "1a", "\n\n", "aab", "ba"};
    for (uint32_t n = 1 + make.below(3); n; --n) request.stop.push_back(stops[make.below(7)]);
  }
  if (make.below(4) == 0) request.stop_token_ids = {letter_ab, digit_9};
  task.layout = engine::parallel_layout(request.prompt, small_lexicon().vocabulary());
  if (make.below(4) == 0) {
    task.max_positions = static_cast<uint32_t>(task.layout.next_position) + 1 + make.below(one_of({10, 40, 90}));
  }
  task.tag_weight = one_of({1, 3, 8, 20});
  task.wild_weight = policy == npr::OnInvalid::constrain ? 1 : make.below(3) ? 0 : 0.05;
  task.end_weight = make.below(3) ? 0.05 : 0.4;
  return task;
}

}  // namespace test
