// Random requests and policies: what must hold of every run.
#include "branch/choice.h"

#include "branch/choice_audit.h"
#include "branch/choice_run.h"
#include "check.h"

namespace {

using namespace test;
using npr::BranchEnd;
using npr::FinishReason;
using npr::OnInvalid;

// What the trunk's text should have come to: blocks shield theirs from stops, observed ones do not, and no stop string
// reaches from one into the other.
struct Stops {
  int32_t string = -1;  // which stop string ends it
  std::string content;  // what goes out
  uint32_t cut = 0;     // bytes of text that the stop takes away
};

Stops expected_stops(const Run& run) {
  const auto& request = run.task().request;
  const auto& trunk = run.choice().trunk();
  const auto& told = run.told(trunk);
  Stops out;
  std::string stretch;
  bool in_content = true;  // the stretch
  const auto settle = [&](bool last) {
    const std::string text = decoded(stretch);
    size_t end = text.npos, begin = 0;
    for (size_t i = 0; i < request.stop.size(); ++i) {
      const auto at = text.find(request.stop[i]);
      if (at == text.npos) continue;
      const size_t stop = at + request.stop[i].size();
      if (end != text.npos && (stop > end || (stop == end && at >= begin))) continue;
      end = stop;
      begin = at;
      out.string = static_cast<int32_t>(i);
    }
    if (end == text.npos) begin = text.size();
    CHECK(out.string < 0 || last);
    if (in_content) out.content += text.substr(0, begin);
    out.cut = static_cast<uint32_t>(text.size() - begin);
    stretch.clear();
  };
  for (size_t i = 0; i < trunk.tokens.size(); ++i) {
    const int32_t token = trunk.tokens[i];
    const bool content = told.channels[i] == static_cast<uint8_t>(npr::Channel::content);
    const bool stop_token = run.finished().stop_token >= 0 && i + 1 == trunk.tokens.size();
    if (content != in_content) settle(false);
    in_content = content;
    if (content || !request.parallel.enabled) {
      CHECK(stop_token || std::ranges::find(request.stop_token_ids, token) == request.stop_token_ids.end() ||
            run.finished().reason == FinishReason::invalid_structure);
      if (!stop_token && !small_lexicon().ends(token)) stretch += small_lexicon().vocabulary().token(token);
    }
  }
  settle(true);
  return out;
}

void check_text(const Run& run, const Flat& flat) {
  const auto& request = run.task().request;
  const auto& finished = run.finished();
  const auto stops = expected_stops(run);
  if (finished.reason != FinishReason::invalid_structure && finished.reason != FinishReason::cancelled) {
    CHECK_EQ(finished.stop_string, stops.string);
  }
  CHECK_EQ(run.told().at(0).content, stops.content);
  std::string bytes;
  for (size_t i = request.prompt.size(); i < flat.tokens.size(); ++i) {
    if (small_lexicon().ends(flat.tokens[i]) || (finished.stop_token >= 0 && i + 1 == flat.tokens.size())) continue;
    bytes += small_lexicon().vocabulary().token(flat.tokens[i]);
  }
  const auto text = decoded(bytes);
  CHECK_EQ(flat.text, text.substr(0, text.size() - stops.cut));
}

// The first branch whose own structure was at fault.
const engine::Branch& at_fault(const engine::Branch& branch) {
  const engine::Block* block = branch.open_block();
  if (!block) return branch;
  const auto faulty = std::ranges::find_if(block->branches, [](const auto& each) { return each->faulty; });
  CHECK(faulty != block->branches.end());
  for (const auto& each : block->branches) CHECK(each->done);
  return at_fault(**faulty);
}

void check_reason(const Run& run) {
  const auto& request = run.task().request;
  const auto& finished = run.finished();
  const auto& trunk = run.choice().trunk();
  const auto [branch, token] = run.last();
  switch (finished.reason) {
    case FinishReason::stop:
      CHECK_EQ((finished.stop_token >= 0) + (finished.stop_string >= 0), 1);
      CHECK(branch->is_trunk());
      CHECK(!trunk.open_block());
      if (finished.stop_token < 0) return;
      CHECK_EQ(finished.stop_token, token);
      CHECK_EQ(trunk.tokens.back(), token);
      CHECK(finished.usage.completion_tokens > request.min_tokens);
      return;
    case FinishReason::length: {
      CHECK(!trunk.open_block());
      const bool used_up = finished.usage.completion_tokens == request.max_tokens;
      const bool positions = trunk.positions.back() + 1 == static_cast<int32_t>(run.task().max_positions);
      CHECK(used_up || positions || trunk.tokens.back() == guideline_end);
      return;
    }
    case FinishReason::invalid_structure: {
      CHECK(request.parallel.on_invalid == OnInvalid::stop);
      const auto& faulty = at_fault(trunk);
      const int32_t last = faulty.tokens.back();
      CHECK(!faulty.structural.back());
      const auto state = faulty.machine.state();
      if (small_lexicon().ends(last)) {
        CHECK(state != engine::State::trunk && state != engine::State::step);
      } else if (faulty.machine.allows(small_lexicon().tag(last))) {
        CHECK((last == guideline && faulty.machine.depth() >= request.parallel.max_depth) ||
              (last == plan && faulty.machine.plans() >= request.parallel.max_branches));
      }
      return;
    }
    case FinishReason::cancelled:
      return;
  }
}

// Under `constrain` the response is a text whose every block parses.
void check_constrained(const Run& run, const Flat& flat) {
  CHECK(run.finished().reason != FinishReason::invalid_structure);
  const auto& trunk = run.choice().trunk();
  const auto& prompt = run.task().request.prompt;
  const auto layout = engine::parallel_layout(flat.tokens, small_lexicon().vocabulary());
  CHECK(layout.positions == flat.positions);
  CHECK(layout.structural == flat.structural);
  for (const auto& piece : layout.pieces) {
    for (uint32_t q = piece.begin; q < piece.end; ++q) {
      auto row = piece.context;
      append(row, {piece.begin, q + 1});
      CHECK(row == flat.rows[q]);
    }
  }
  const auto state = trunk.machine.state();
  const bool opened_here = run.task().layout.machine.depth() == 0 || !trunk.blocks.empty();
  if (opened_here) CHECK(state == engine::State::trunk || state == engine::State::takeaway);
  if (run.task().layout.plain) return;
  uint32_t spaces = 0;
  for (size_t i = prompt.size(); i < flat.tokens.size(); ++i) {
    if (is_tag(flat.tokens[i])) CHECK(flat.structural[i]);
    if (flat.tokens[i] == plan_end || flat.tokens[i] == guideline) {
      for (spaces = 0; i + 1 < flat.tokens.size() && !is_tag(flat.tokens[i + 1]); ++i, ++spaces) {
        CHECK(std::ranges::binary_search(small_lexicon().whitespace(), flat.tokens[i + 1]));
      }
      CHECK(spaces <= 4);
    }
  }
  for (const auto end : flat.ends) CHECK(end != BranchEnd::stop);
}

void check_run(const Run& run, const Flat& flat) {
  const auto& request = run.task().request;
  CHECK(run.choice().finished());
  Auditor(run).audit();
  check_key_tells_all(flat);
  check_text(run, flat);
  check_reason(run);
  if (request.ignore_eos) {
    for (const auto end : flat.ends) CHECK(end != BranchEnd::stop);
    CHECK(std::none_of(flat.tokens.begin() + static_cast<ptrdiff_t>(request.prompt.size()), flat.tokens.end(),
                       [](int32_t token) { return small_lexicon().ends(token); }));
  }
  if (request.sampling.presence_penalty != 0.0f) {
    const auto& trunk = run.choice().trunk();
    if (!trunk.open_block()) {
      for (int32_t token = 0; token < words; ++token) {
        const auto from = flat.tokens.begin() + static_cast<ptrdiff_t>(request.prompt.size());
        CHECK_EQ(trunk.seen.count(token), std::count(from, flat.tokens.end(), token));
      }
    }
  }
}

struct Tally {
  uint32_t blocks = 0, nested = 0, stop = 0, string = 0, length = 0, invalid = 0, cut = 0, ended = 0;
};

// Random requests of one policy, each run in two orders.
Tally run_many(OnInvalid policy, uint32_t seeds, uint32_t first) {
  Tally tally;
  for (uint32_t seed = first; seed < first + seeds; seed += check::stride()) {
    try {
      const Task task = random_task(seed, policy);
      Run run(task), other(task);
      run.go(Order::first, 0);
      const Flat flat = Flattener(run).flat();
      check_run(run, flat);
      if (policy == OnInvalid::constrain) check_constrained(run, flat);

      other.go(std::array{Order::random, Order::last, Order::in_turn}[seed % 3], seed);
      const Flat again = Flattener(other).flat();
      check_run(other, again);
      CHECK(other.finished().reason == run.finished().reason);
      CHECK(again == flat);
      CHECK_EQ(other.finished().stop_token, run.finished().stop_token);
      CHECK_EQ(other.finished().stop_string, run.finished().stop_string);
      CHECK_EQ(other.finished().usage.completion_tokens, run.finished().usage.completion_tokens);
      tally.blocks += run.choice().usage().blocks;
      for (const auto& block : run.choice().trunk().blocks) {
        for (const auto& child : block->branches) tally.nested += static_cast<uint32_t>(child->blocks.size());
      }
      tally.stop += run.finished().stop_token >= 0;
      tally.string += run.finished().stop_string >= 0;
      tally.length += run.finished().reason == FinishReason::length;
      tally.invalid += run.finished().reason == FinishReason::invalid_structure;
      for (const auto end : flat.ends) {
        tally.cut += end == BranchEnd::length;
        tally.ended += end == BranchEnd::stop;
      }
    } catch (const std::exception& e) {
      throw check::Failed("seed " + std::to_string(seed) + ": " + e.what());
    }
  }
  return tally;
}

TEST(constrained_runs) {
  const auto tally = run_many(OnInvalid::constrain, 6000, 0);
  CHECK_EQ(tally.invalid + tally.ended, 0u);
  if (check::stride() > 1) return;
  CHECK(tally.blocks > 3000 && tally.nested > 300 && tally.cut > 1000);
  CHECK(tally.stop > 500 && tally.string > 100 && tally.length > 500);
}

TEST(runs_that_stop_at_a_fault) {
  const auto tally = run_many(OnInvalid::stop, 6000, 100'000);
  if (check::stride() > 1) return;
  CHECK(tally.blocks > 1000 && tally.nested > 100 && tally.cut > 500 && tally.ended > 10);
  CHECK(tally.invalid > 500 && tally.stop > 200 && tally.string > 100 && tally.length > 500);
}

TEST(runs_that_ignore_faults) {
  const auto tally = run_many(OnInvalid::ignore, 6000, 200'000);
  CHECK_EQ(tally.invalid, 0u);
  if (check::stride() > 1) return;
  CHECK(tally.blocks > 1000 && tally.nested > 100 && tally.cut > 500 && tally.ended > 50);
  CHECK(tally.stop > 300 && tally.string > 100 && tally.length > 500);
}

TEST(cancelled_runs) {
  uint32_t open = 0;
  for (uint32_t seed = 0; seed < 1500; seed += check::stride()) {
    Run run(random_task(seed, OnInvalid::constrain));
    run.go(Order::random, seed, 1 + seed / check::stride() % 60);
    check_run(run, Flattener(run).flat());
    open += run.finished().reason == FinishReason::cancelled && run.choice().trunk().open_block();
  }
  CHECK(open > (check::stride() == 1 ? 100u : 5u));
}

// Without structure tags are observed, so that text is told from blocks, and nothing else.
TEST(sequential_runs) {
  uint32_t blocks = 0;
  for (uint32_t seed = 0; seed < 2000; seed += check::stride()) {
    Task task = random_task(seed, OnInvalid::constrain);
    task.request.parallel.enabled = false;
    task.wild_weight = seed % 2 ? 0 : 0.05;
    task.layout = engine::plain_layout(static_cast<uint32_t>(task.request.prompt.size()));
    if (task.max_positions < 1000) task.max_positions += static_cast<uint32_t>(task.request.prompt.size());
    Run run(task);
    run.go(Order::first, 0);
    const Flat flat = Flattener(run).flat();
    check_run(run, flat);
    CHECK(run.choice().trunk().blocks.empty());
    const auto causal = engine::plain_layout(flat.size());
    CHECK(flat.positions == causal.positions);
    CHECK(flat.structural == causal.structural);
    const auto& channels = run.told().at(0).channels;
    blocks += std::ranges::count(channels, static_cast<uint8_t>(npr::Channel::block)) > 8;
  }
  CHECK(blocks > 500 / check::stride());
}

}  // namespace
