// Few slots, many requests: who is admitted, and what a caller may do meanwhile.
#include <atomic>
#include <limits>
#include <thread>

#include "check.h"
#include "schedule/stub_backend.h"
#include "schedule/world.h"

using namespace npr;
using namespace test;

namespace {

Request request_of(RequestId id, uint32_t prompt, uint32_t max_tokens) {
  Request request;
  request.id = id;
  std::mt19937 random(static_cast<uint32_t>(id));
  for (uint32_t i = 0; i < prompt; ++i) request.prompt.push_back(static_cast<int32_t>(14 + random() % 20));
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  request.sampling.seed = id;
  return request;
}

}  // namespace

// 20 prompts of 100 tokens over 600 slots: five or six fit beside each other, with all that they will add.
TEST(prompts_that_do_not_fit_together_wait_for_each_other) {
  World world({.rows = 32, .slots = 600});
  for (RequestId id = 1; id <= 20; ++id) world.engine().submit(request_of(id, 100, 4));
  uint32_t most = 0;
  while (world.engine().step()) most = std::max(most, world.engine().stats().running);
  for (RequestId id = 1; id <= 20; ++id) CHECK_EQ(world.of(id).usage.completion_tokens, 4u);
  CHECK_EQ(world.engine().stats().preemptions, 0u);
  CHECK(most >= 4 && most <= 6);
}

// Each of 12 answers grows to a third of the pool: they preempt each other, yet most of the work is done once.
TEST(preemption_ends) {
  World world({.rows = 64, .slots = 600});
  for (RequestId id = 1; id <= 12; ++id) world.engine().submit(request_of(id, 10, 190));
  uint64_t steps = 0;
  while (world.engine().step()) ++steps;
  for (RequestId id = 1; id <= 12; ++id) CHECK_EQ(world.of(id).usage.completion_tokens, 190u);
  CHECK(world.engine().stats().preemptions > 0);
  CHECK(world.engine().stats().preemptions <= 24);
  CHECK(steps < 12 * 190);
}

// Six times what the pool holds: each resumes when there is room to stay for a while, so that what preemption makes the
// engine compute again stays a fraction of the whole.
TEST(who_was_preempted_comes_back_to_stay) {
  struct Count : StubBackend {
    uint64_t rows = 0;
    void begin(std::span<const int32_t> positions, std::span<const compute::Slot>,
               std::span<const compute::Sequence>) override {
      rows += positions.size();
    }
  };
  auto backend = std::make_unique<Count>();
  Count& count = *backend;
  const uint64_t kv_bytes = 3000 * checkpoint().config().kv_shape().slot_bytes();
  schedule::Engine engine(std::make_unique<model::Model>(checkpoint(), std::move(backend), kv_bytes, 512), vocabulary(),
                          {}, [](std::vector<Event>&&) {});
  for (RequestId id = 1; id <= 64; ++id) engine.submit(request_of(id, 30, 270));
  while (engine.step()) {
  }
  CHECK_EQ(engine.stats().completion_tokens, 64u * 270);
  CHECK(engine.stats().preemptions > 0);
  CHECK(count.rows < 64 * 300 * 3 / 2);
}

TEST(more_samples_than_slots_are_refused) {
  World world({.slots = 64});
  Request request = request_of(1, 8, 0);
  request.n = 4294967295u;
  CHECK(CHECK_THROWS(world.engine().submit(request)).find("expected 1 to 64") != std::string::npos);
  request.n = 64;
  CHECK_EQ(world.alone(request).reasons.size(), 64u);
  request.max_tokens = 4294967295u;
  CHECK(CHECK_THROWS(world.engine().submit(request)).find("exceed the KV pool") != std::string::npos);
}

TEST(the_sink_may_call_the_engine) {
  auto model = std::make_unique<model::Model>(checkpoint(), support::make_test_backend({.threads = 1}),
                                              256 * checkpoint().config().kv_shape().slot_bytes(), 32);
  schedule::Engine* engine = nullptr;
  uint32_t finished = 0;
  schedule::Engine made(std::move(model), vocabulary(), {}, [&](std::vector<Event>&& events) {
    engine->check_integrity();
    (void)engine->stats();
    for (const auto& event : events) {
      if (event.type == Event::Type::delta) engine->cancel(event.request);
      if (event.type != Event::Type::finished) continue;
      // Its id is free again.
      if (++finished < 5) engine->submit(request_of(event.request, 20, 10));
    }
  });
  engine = &made;
  made.submit(request_of(1, 20, 10));
  while (made.step()) {
  }
  CHECK_EQ(finished, 5u);
}

// One bans the only token that its budget leaves it in the end; what runs beside it notices nothing.
TEST(a_request_that_can_sample_nothing_fails_by_itself) {
  World world({.rows = 32, .slots = 512});
  Request stuck = request_of(1, 10, 60);
  stuck.n = 3;
  stuck.prompt.insert(stuck.prompt.end(), {im_start, assistant, newline, first_tag, first_tag + 2});
  stuck.parallel = {.enabled = true};
  stuck.sampling.logit_bias = {{first_tag + 3, -std::numeric_limits<float>::infinity()}};
  world.engine().submit(stuck);
  world.engine().submit(request_of(2, 30, 80));
  while (!world.of(1).finished) world.engine().step();
  world.engine().check_integrity();
  CHECK(world.of(1).failure.find("no token can be sampled") != std::string::npos);
  CHECK(!world.of(2).finished);
  world.run();
  World alone({});
  CHECK_EQ(alone.alone(request_of(2, 30, 80)).difference(world.of(2)), "");
  const auto stats = world.engine().stats();
  CHECK_EQ(stats.free + stats.cached, stats.slots);
}

TEST(what_was_taken_ends_though_the_engine_closes) {
  for (uint32_t round = 0; round < 10; ++round) {
    auto model = std::make_unique<model::Model>(checkpoint(), support::make_test_backend({.threads = 2}),
                                                300 * checkpoint().config().kv_shape().slot_bytes(), 32);
    uint32_t ended = 0;
    schedule::Engine engine(std::move(model), vocabulary(), {.max_running = 4, .max_waiting = 1000},
                            [&](std::vector<Event>&& events) {
                              for (const auto& event : events) {
                                ended += event.type == Event::Type::finished || event.type == Event::Type::failed;
                              }
                            });
    engine.start();
    std::atomic<uint32_t> taken{0};
    std::vector<std::thread> callers;
    for (uint32_t caller = 0; caller < 3; ++caller) {
      callers.emplace_back([&, caller] {
        try {
          for (RequestId id = 1 + caller; id < 300; id += 3, ++taken) {
            engine.submit(request_of(id, 20, 20));
            if (id % 7 == 0) engine.check_integrity();
            if (id % 5 == 0) engine.cancel(id);
          }
        } catch (const Error& error) {
          CHECK(error.code() == ErrorCode::unavailable);
        }
      });
    }
    while (taken < 10 * round) std::this_thread::yield();
    engine.close();
    for (auto& caller : callers) caller.join();
    CHECK_EQ(ended, taken.load());
    engine.check_integrity();
    engine.close();
  }
}

// Attention reads tiles of 16 keys: paths in pieces of one slot would cost it as much as keys sixteen times as many.
TEST(paths_stay_whole_when_the_cache_is_full) {
  struct Watch : StubBackend {
    uint64_t keys = 0, runs = 0;
    void begin(std::span<const int32_t>, std::span<const compute::Slot>,
               std::span<const compute::Sequence> sequences) override {
      for (const auto& sequence : sequences) {
        keys += sequence.length;
        runs += sequence.path.size();
      }
    }
  };
  auto backend = std::make_unique<Watch>();
  Watch& watch = *backend;
  constexpr uint32_t slots = 4000;
  schedule::Engine engine(std::make_unique<model::Model>(checkpoint(), std::move(backend),
                                                         slots * checkpoint().config().kv_shape().slot_bytes(), 64),
                          vocabulary(), {}, [](std::vector<Event>&&) {});
  RequestId id = 0;
  const auto serve = [&](uint64_t tokens) {
    while (engine.stats().prompt_tokens < tokens) {
      while (engine.stats().running + engine.stats().waiting < 8) {
        ++id;
        engine.submit(request_of(id, 50 + id * 37 % 90, 40 + id * 23 % 70));
      }
      engine.step();
    }
  };
  serve(5 * slots);
  watch.keys = watch.runs = 0;
  serve(8 * slots);
  CHECK(engine.stats().cached > slots / 2);
  CHECK(watch.runs * 8 < watch.keys);
}

// Three tiles: the first prompt fills one and stays in the cache while the second answer grows in what is left of its
// own tile, and goes once that is full.
TEST(who_has_room_in_a_tile_of_its_own_evicts_nothing) {
  World world({.slots = 48});
  const auto first = request_of(1, 16, 0);
  world.alone(first);
  world.engine().submit(request_of(2, 17, 20));
  while (world.engine().stats().free > 4) {
    world.engine().step();
    CHECK_EQ(world.engine().stats().cached, 16u);
  }
  world.run();
  CHECK_EQ(world.of(2).usage.completion_tokens, 20u);
  auto again = first;
  again.id = 3;
  CHECK(world.alone(again).usage.cached_tokens < 15);
}
