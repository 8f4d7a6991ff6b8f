// Random responses replayed: every draw finds what it found when it was made.
#include "train/replay.h"

#include <map>

#include "check.h"
#include "train/prepare.h"
#include "train/trajectories.h"

namespace {

using namespace test;
using npr::OnInvalid;
using npr::train::Group;
using npr::train::Replay;
using npr::train::Trajectory;

// All that a draw depends on but the logits.
struct Drawn {
  int32_t token;
  std::vector<std::vector<int32_t>> allowed, forbidden;
  std::map<int32_t, uint32_t> seen, own;
  bool in_branch;
  bool operator==(const Drawn&) const = default;
};

Drawn drawn(const npr::sample::Row& row, int32_t token) {
  Drawn out{.token = token,
            .allowed = {},
            .forbidden = {},
            .seen = {},
            .own = {},
            .in_branch = row.branch_sampled != nullptr};
  for (const auto list : row.mask.allowed()) out.allowed.emplace_back(list.begin(), list.end());
  for (const auto list : row.mask.forbidden()) out.forbidden.emplace_back(list.begin(), list.end());
  npr::sample::for_each_distinct(row.response, [&](int32_t t, uint32_t count) { out.seen[t] = count; });
  if (row.branch_sampled) {
    for (const auto& entry : row.branch_sampled->entries()) out.own[entry.token] = entry.count;
  }
  return out;
}

// A draw's place: its stream, told by the first of its numbers, and its index on that.
using Place = std::pair<double, uint64_t>;
Place place(const npr::sample::Row& row) { return {row.stream.uniform(0), row.index}; }

struct Recorded {
  explicit Recorded(const Task& task) : run(task) {
    run.observe = [this](const engine::Choice& choice, const Branch& branch, int32_t token) {
      std::vector<const npr::sample::Histogram*> layers;
      const auto row = choice.row(branch, counts, nullptr, words, layers);
      CHECK(draws.emplace(place(row), drawn(row, token)).second);
    };
  }
  npr::sample::Histogram counts;
  std::map<Place, Drawn> draws;
  Run run;
};

// What each token sees, by the pieces that it lies in.
std::vector<std::vector<Interval>> rows_of(const npr::train::Rows& rows) {
  std::vector<std::vector<Interval>> out;
  for (const auto& piece : rows.pieces) {
    auto visible = piece.context;
    for (uint32_t i = piece.begin; i < piece.end; ++i) {
      append(visible, {i, i + 1});
      out.push_back(visible);
    }
  }
  return out;
}

void check_rows(const npr::train::Prepared& prepared, const Flat& flat) {
  auto positions = prepared.prompt->positions;
  positions.insert(positions.end(), prepared.response.positions.begin(), prepared.response.positions.end());
  CHECK(positions == flat.positions);
  auto rows = rows_of(*prepared.prompt);
  const auto response = rows_of(prepared.response);
  rows.insert(rows.end(), response.begin(), response.end());
  CHECK(rows == flat.rows);
}

// Ends of sequence that were sampled in branches, of which no token is left.
uint32_t check_replay(const Recorded& recorded, const Flat& flat, const Trajectory& trajectory) {
  const Task& task = recorded.run.task();
  const auto prompt = engine::read_prompt(task.request, small_lexicon(), task.max_positions);
  Replay replay(task.request, small_lexicon(), prompt, trajectory, task.max_positions);
  std::vector<uint8_t> forced(trajectory.tokens.size(), 1);
  std::vector<const npr::sample::Histogram*> layers;
  auto left = recorded.draws;
  while (const auto at = replay.next()) {
    forced[*at] = 0;
    const auto row = replay.row(nullptr, words, layers);
    const auto found = left.find(place(row));
    CHECK(found != left.end());
    CHECK(found->second == drawn(row, trajectory.tokens[*at]));
    left.erase(found);
  }
  CHECK(forced == trajectory.forced);
  CHECK(replay.choice().finished());
  for (const auto& [_, draw] : left) CHECK(small_lexicon().ends(draw.token));
  CHECK_EQ(left.size(), static_cast<size_t>(std::ranges::count(flat.ends, npr::BranchEnd::stop)));
  return static_cast<uint32_t>(left.size());
}

struct Tally {
  uint32_t blocks = 0, nested = 0, ended = 0, faults = 0, stops = 0;
};

Tally replay_many(OnInvalid policy, uint32_t seeds, uint32_t first, bool parallel = true) {
  Tally tally;
  for (uint32_t seed = first; seed < first + seeds; seed += check::stride()) {
    try {
      Task task = random_task(seed, policy);
      if (seed % 2) task.request.sampling.repetition_penalty = 1.1f;
      if (!parallel) {
        task.request.parallel.enabled = false;
        task.layout = engine::plain_layout(static_cast<uint32_t>(task.request.prompt.size()));
        if (task.max_positions < 1000) task.max_positions += static_cast<uint32_t>(task.request.prompt.size());
      }
      Recorded recorded(task);
      recorded.run.go(Order::random, seed);
      const Flat flat = Flattener(recorded.run).flat();
      const Trajectory trajectory = trajectory_of(recorded.run, flat);
      tally.ended += check_replay(recorded, flat, trajectory);

      Group group = group_of(recorded.run, trajectory);
      const auto config = small_config(task.max_positions);
      check_rows(npr::train::prepare({&group, 1}, config, small_lexicon()).at(0), flat);
      if (policy == OnInvalid::constrain) {  // read back, the response is what it was
        group.request.reset();
        group.parallel = parallel;
        check_rows(npr::train::prepare({&group, 1}, config, small_lexicon()).at(0), flat);
      }

      const auto& usage = recorded.run.choice().usage();
      tally.blocks += usage.blocks;
      tally.nested += usage.blocks - static_cast<uint32_t>(recorded.run.choice().trunk().blocks.size());
      tally.faults += recorded.run.finished().reason == npr::FinishReason::invalid_structure;
      tally.stops += recorded.run.finished().reason == npr::FinishReason::stop;
    } catch (const std::exception& e) {
      throw check::Failed("seed " + std::to_string(seed) + ": " + e.what());
    }
  }
  return tally;
}

TEST(constrained_responses) {
  const auto tally = replay_many(OnInvalid::constrain, 4000, 0);
  if (check::stride() == 1) CHECK(tally.blocks > 2000 && tally.nested > 200 && tally.stops > 500);
}

TEST(responses_that_stop_at_a_fault) {
  const auto tally = replay_many(OnInvalid::stop, 4000, 100'000);
  if (check::stride() == 1) CHECK(tally.blocks > 700 && tally.nested > 50 && tally.ended > 10 && tally.faults > 300);
}

TEST(responses_that_ignore_faults) {
  const auto tally = replay_many(OnInvalid::ignore, 4000, 200'000);
  if (check::stride() == 1) CHECK(tally.blocks > 700 && tally.nested > 50 && tally.ended > 50);
}

TEST(sequential_responses) {
  const auto tally = replay_many(OnInvalid::constrain, 1500, 0, false);
  CHECK_EQ(tally.blocks, 0u);
  CHECK(tally.stops > 200 / check::stride());
}

// Expects that a change of some response leads to a message with `part` in it. change: false where that response is not
// one for it.
void check_refused(const char* part, const std::function<bool(Group&)>& change,
                   OnInvalid policy = OnInvalid::constrain) {
  for (uint32_t seed = 0; seed < 500; ++seed) {
    const Task task = random_task(seed, policy);
    Run run(task);
    run.go(Order::first, 0);
    Group group = group_of(run, trajectory_of(run, Flattener(run).flat()));
    if (task.layout.plain || !change(group)) continue;
    try {
      npr::train::prepare({&group, 1}, small_config(task.max_positions), small_lexicon());
    } catch (const npr::Error& error) {
      if (std::string_view(error.what()).find(part) != std::string_view::npos) return;
      throw check::Failed(std::string(error.what()) + ": does not say " + part);
    }
    throw check::Failed("seed " + std::to_string(seed) + ": expected to be refused with " + part);
  }
  throw check::Failed(std::string("no response that could be changed for ") + part);
}

TEST(what_does_not_follow_from_its_request_is_refused) {
  const auto first_forced = [](Group& group) { return std::ranges::find(group.trajectories[0].forced, 1); };
  check_refused("the response was over before it", [](Group& group) {
    auto& t = group.trajectories[0];
    t.tokens.push_back(letter_a);
    t.forced.push_back(0);
    t.weights.push_back(1);
    return true;
  });
  check_refused("it ends where the response was to go on", [](Group& group) {
    auto& t = group.trajectories[0];
    if (t.tokens.size() < 2 || t.forced.back()) return false;
    t.tokens.pop_back();
    t.forced.pop_back();
    t.weights.pop_back();
    return true;
  });
  check_refused("the engine was to force 2 there", [&](Group& group) {
    const auto at = first_forced(group);
    if (at == group.trajectories[0].forced.end()) return false;
    group.trajectories[0].tokens[static_cast<size_t>(at - group.trajectories[0].forced.begin())] = letter_b;
    return true;
  });
  check_refused("the engine was to force 2 there", [&](Group& group) {
    const auto at = first_forced(group);
    if (at == group.trajectories[0].forced.end()) return false;
    *at = 0;
    return true;
  });
  check_refused("is forced and has the weight 1", [&](Group& group) {
    group.trajectories[0].weights.assign(group.trajectories[0].tokens.size(), 1);
    return first_forced(group) != group.trajectories[0].forced.end();
  });
  check_refused("group 0, trajectory 0: the trajectory does not follow from its request at token 0", [](Group& group) {
    group.trajectories[0].forced[0] = 1;
    group.trajectories[0].weights[0] = 0;
    return true;
  });
  check_refused("it could not be sampled there", [](Group& group) {
    group.trajectories[0].tokens[0] = step_end;
    return true;
  });
  check_refused(
      "a branch does not keep its end of sequence",
      [](Group& group) {
        auto& t = group.trajectories[0];
        for (size_t i = 0; i + 1 < t.tokens.size() && !group.request->ignore_eos; ++i) {
          if (t.tokens[i] != step || !t.forced[i]) continue;
          while (t.forced[i]) ++i;
          t.tokens[i] = im_end;
          return true;
        }
        return false;
      },
      OnInvalid::stop);
  check_refused("marks of forced tokens", [](Group& group) {
    group.trajectories[0].forced.pop_back();
    return true;
  });
  check_refused("it is choice 1; its request asked for 1", [](Group& group) {
    group.trajectories[0].choice = 1;
    return true;
  });
  check_refused("another prompt", [](Group& group) {
    group.prompt.push_back(letter_a);
    return true;
  });
  check_refused("of its weights, number 0 is", [](Group& group) {
    group.trajectories[0].weights[0] = std::numeric_limits<float>::quiet_NaN();
    return true;
  });
  check_refused("it has 3 old log-probabilities", [](Group& group) {
    group.trajectories[0].old_logprobs = {0, 0, 0};
    return group.trajectories[0].tokens.size() > 3;
  });
  check_refused("token 0 is 34; expected an id from 0 to 33", [](Group& group) {
    group.request.reset();
    group.trajectories[0].tokens[0] = words;
    return true;
  });
}

TEST(cancelled_responses_are_refused) {
  uint32_t refused = 0;
  for (uint32_t seed = 0; seed < 300; seed += check::stride()) {
    const Task task = random_task(seed, OnInvalid::constrain);
    Run run(task);
    run.go(Order::random, seed, 1 + seed / check::stride() % 20);
    if (run.finished().reason != npr::FinishReason::cancelled) continue;
    const Group group = group_of(run, trajectory_of(run, Flattener(run).flat()));
    const auto why = CHECK_THROWS(npr::train::prepare({&group, 1}, small_config(task.max_positions), small_lexicon()));
    CHECK(why.find("does not follow from its request") != why.npos);
    ++refused;
  }
  CHECK(refused > 100 / check::stride());
}

}  // namespace
