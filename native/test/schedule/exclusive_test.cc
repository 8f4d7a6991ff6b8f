// The model lent out: refused while requests are there, and everything as before afterwards.
#include <stdexcept>
#include <thread>

#include "check.h"
#include "schedule/world.h"

using namespace npr;
using namespace test;

namespace {

Request simple(RequestId id) {
  Request request;
  request.id = id;
  request.prompt = {im_start, user, newline, 20, 21, 22, 23, 24, im_end, newline, im_start, assistant, newline};
  request.max_tokens = 30;
  request.ignore_eos = true;
  request.sampling.seed = 3;
  return request;
}

TEST(is_refused_while_requests_wait_or_run) {
  World world({});
  auto& engine = world.engine();
  const auto refusal = [&] { return CHECK_THROWS(engine.exclusive([](model::Model&) { CHECK(!"lent"); })); };
  engine.submit(simple(1));
  CHECK(refusal().find("now there are 1") != std::string::npos);
  engine.step();
  CHECK(refusal().find("no request runs or waits") != std::string::npos);
  world.run();
  bool lent = false;
  engine.exclusive([&](model::Model& model) { lent = model.slots() == engine.slots(); });
  CHECK(lent);
  engine.close();
  CHECK(refusal().find("closed") != std::string::npos);
}

TEST(drops_the_prefix_cache_and_leaves_the_pool_to_the_work) {
  World world({.slots = 256});
  auto& engine = world.engine();
  const Transcript first = world.alone(simple(1));
  CHECK(engine.stats().cached > 0);
  // Overwrites every slot: what was cached must not be found again.
  engine.exclusive([&](model::Model& model) {
    CHECK_EQ(engine.stats().cached, 0u);
    CHECK_EQ(engine.stats().free, model.slots());
    model::Batch batch;
    for (uint32_t i = 0; i < model.slots(); ++i) {
      batch.tokens.push_back(5);
      batch.positions.push_back(0);
      batch.slots.push_back(i);
    }
    const compute::Path path{{0, model.slots()}};
    batch.sequences.push_back({path, model.slots(), model.slots()});
    model.forward(batch);
  });
  engine.check_integrity();
  const Transcript again = world.alone(simple(2));
  CHECK_EQ(again.usage.cached_tokens, 0u);
  CHECK_EQ(first.difference(again), "");
  engine.check_integrity();
}

TEST(work_that_throws_leaves_the_engine_as_it_was) {
  World world({});
  world.alone(simple(1));
  CHECK_EQ(CHECK_THROWS(world.engine().exclusive([](model::Model&) { throw std::runtime_error("broke"); })), "broke");
  world.engine().check_integrity();
  CHECK_EQ(world.of(1).difference(world.alone(simple(2))), "");
}

TEST(requests_that_come_meanwhile_run_afterwards) {
  World world({});
  auto& engine = world.engine();
  engine.start();
  engine.exclusive([&](model::Model&) {
    engine.submit(simple(1));
    std::this_thread::yield();
    CHECK_EQ(engine.stats().running, 0u);
    CHECK_EQ(engine.stats().waiting, 1u);
  });
  while (engine.stats().running || engine.stats().waiting) std::this_thread::yield();
  engine.close();
  CHECK(world.of(1).finished && world.of(1).failure.empty());
}

}  // namespace
