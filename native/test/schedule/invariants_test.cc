// The spec's invariants over random requests: what a request answers depends on the request alone, and every slot has
// one owner, whatever else happens in the engine.
#include "check.h"
#include "schedule/world.h"

using namespace npr;
using namespace test;

namespace {

struct Load {
  std::vector<Request> requests;
  std::vector<Transcript> expected;  // of each one alone in an engine without a cache
};

Load make_load(uint64_t seed, uint32_t count, compute::WeightFormat weights = compute::WeightFormat::bf16) {
  RequestMaker maker(seed);
  World reference({.threads = 1, .rows = 512, .slots = 2048, .weights = weights, .options = {.prefix_cache = false}});
  Load load;
  for (uint32_t i = 0; i < count; ++i) {
    load.requests.push_back(maker.make(i + 1));
    load.expected.push_back(reference.alone(load.requests.back()));
    const auto& branches = load.expected.back().branches;
    if (branches.size() == 1) maker.remember(load.requests.back(), branches.begin()->second.tokens);
  }
  reference.engine().check_integrity();
  return load;
}

// Submits everything in random order at random moments, among others that are cancelled at random moments.
void storm(const Load& load, const Setup& setup, uint64_t seed) {
  RequestMaker random(seed);
  World world(setup);
  std::vector<const Request*> todo;
  for (const auto& request : load.requests) todo.push_back(&request);
  std::mt19937_64 shuffle(seed);
  std::ranges::shuffle(todo, shuffle);
  RequestId noise = 1'000'000;
  std::vector<RequestId> victims;
  bool worked = true;
  while (!todo.empty() || worked) {
    while (!todo.empty() && random.chance(3)) {
      const auto& request = *todo.back();
      todo.pop_back();
      if (request.prompt.size() + uint64_t{request.n} * request.max_tokens <= setup.slots)
        world.engine().submit(request);
    }
    if (!todo.empty() && random.chance(6)) {
      Request request = random.make(++noise);
      if (request.prompt.size() + uint64_t{request.n} * request.max_tokens <= setup.slots) {
        world.engine().submit(request);
        victims.push_back(noise);
      }
    }
    if (!victims.empty() && random.chance(5)) {
      world.engine().cancel(victims.back());
      victims.pop_back();
    }
    worked = world.engine().step();
    if (random.chance(20)) world.engine().check_integrity();
  }
  world.engine().check_integrity();
  const auto stats = world.engine().stats();
  CHECK_EQ(stats.free + stats.cached, stats.slots);
  CHECK_EQ(stats.running + stats.waiting, 0u);
  for (size_t i = 0; i < load.requests.size(); ++i) {
    const auto& request = load.requests[i];
    if (request.prompt.size() + uint64_t{request.n} * request.max_tokens > setup.slots) continue;
    const auto difference = load.expected[i].difference(world.of(request.id));
    if (difference.empty()) continue;
    throw check::Failed("request " + std::to_string(request.id) + " under seed " + std::to_string(seed) +
                        " differs from the same one alone in " + difference);
  }
}

uint32_t blocks(const Load& load) {
  uint32_t count = 0;
  for (const auto& transcript : load.expected) count += transcript.usage.blocks;
  return count;
}

}  // namespace

TEST(requests_finish_and_open_blocks) {
  const Load load = make_load(1, 40);
  for (const auto& transcript : load.expected) CHECK(transcript.finished);
  CHECK(blocks(load) > 20);
}

TEST(batch_and_threads_change_nothing) {
  const Load load = make_load(2, 30);
  for (const uint32_t threads : {1u, 2u, 3u}) storm(load, {.threads = threads, .rows = 256}, threads);
}

TEST(chunk_size_changes_nothing) {
  const Load load = make_load(3, 25);
  for (const uint32_t rows : {1u, 2u, 7u, 33u}) storm(load, {.threads = 2, .rows = rows}, rows);
}

TEST(preemption_and_eviction_change_nothing) {
  const Load load = make_load(4, 30);
  for (const uint32_t slots : {330u, 400u, 640u}) {
    storm(load, {.threads = 2, .rows = 48, .slots = slots, .options = {.max_running = 9}}, slots);
  }
}

TEST(many_seeds) {
  for (uint64_t seed = 10; seed < 40; seed += check::stride()) {
    const Load load = make_load(seed, 12);
    storm(load,
          {.threads = static_cast<uint32_t>(1 + seed % 3),
           .rows = static_cast<uint32_t>(5 + seed * 7 % 90),
           .slots = static_cast<uint32_t>(340 + seed * 53 % 700),
           .options = {.max_running = static_cast<uint32_t>(2 + seed % 12), .prefix_cache = seed % 4 != 0}},
          seed);
  }
}

TEST(int8_weights_change_nothing_of_that) {
  constexpr auto int8 = compute::WeightFormat::int8;
  for (const uint64_t seed : {50u, 51u, 52u}) {
    const Load load = make_load(seed, 12, int8);
    CHECK(blocks(load) > 0);
    storm(load, {.threads = 2, .rows = 29, .slots = 420, .weights = int8, .options = {.max_running = 7}}, seed);
    storm(load, {.threads = 3, .rows = 200, .weights = int8}, seed);
  }
}

TEST(preemption_happens) {
  const Load load = make_load(5, 20);
  World world({.rows = 64, .slots = 340});
  for (const auto& request : load.requests) {
    if (request.prompt.size() + uint64_t{request.n} * request.max_tokens <= 340) world.engine().submit(request);
  }
  world.run();
  CHECK(world.engine().stats().preemptions > 0);
}
