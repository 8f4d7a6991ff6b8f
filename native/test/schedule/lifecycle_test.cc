// What a caller relies on: refusals, bounds, cancellation, reuse of prefixes, fairness, threads.
#include <atomic>
#include <thread>

#include "check.h"
#include "schedule/quota.h"
#include "schedule/world.h"

using namespace npr;
using namespace test;

namespace {

Request simple(RequestId id, uint32_t max_tokens = 20) {
  Request request;
  request.id = id;
  request.prompt = {im_start, user, newline, 20, 21, 22, 23, 24, im_end, newline, im_start, assistant, newline};
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  request.sampling.seed = id;
  return request;
}

// A block of `branches` plans, then whatever; the bias makes tags come by themselves.
Request branching(RequestId id, uint32_t branches, uint32_t max_tokens) {
  Request request = simple(id, max_tokens);
  request.prompt.push_back(first_tag);
  for (uint32_t i = 0; i < branches; ++i) request.prompt.insert(request.prompt.end(), {42, 20, 43});
  request.parallel = {.enabled = true, .max_branches = branches, .max_depth = 1};
  request.sampling.logit_bias = {{first_tag + 1, 100.0f}, {first_tag + 5, -100.0f}};
  return request;
}

}  // namespace

TEST(refuses_what_it_can_never_serve) {
  World world({.slots = 128});
  const auto refusal = [&](auto&& change) {
    Request request = simple(1);
    change(request);
    return CHECK_THROWS(world.engine().submit(request));
  };
  CHECK(refusal([](Request& r) { r.prompt.clear(); }).find("no tokens") != std::string::npos);
  CHECK(refusal([](Request& r) { r.prompt[2] = 48; }).find("token 2 is 48") != std::string::npos);
  CHECK(refusal([](Request& r) { r.prompt[0] = -1; }).find("token 0 is -1") != std::string::npos);
  CHECK(refusal([](Request& r) { r.n = 0; }).find("n is 0") != std::string::npos);
  CHECK(refusal([](Request& r) { r.stop = {""}; }).find("stop string is empty") != std::string::npos);
  CHECK(refusal([](Request& r) { r.max_tokens = 116; }).find("KV pool of 128") != std::string::npos);
  CHECK(refusal([](Request& r) { r.n = 6; }).find("6 x 20") != std::string::npos);
  CHECK(refusal([](Request& r) { r.parallel = {.enabled = true, .max_branches = 0}; }).find("max_branches") !=
        std::string::npos);
  world.engine().submit(simple(1));
  CHECK(CHECK_THROWS(world.engine().submit(simple(1))).find("in use") != std::string::npos);
  world.run();
  world.engine().submit(simple(1));
  world.run();
}

TEST(a_prompt_among_open_branches_fails_by_itself) {
  World world({});
  Request request = simple(1);
  request.parallel.enabled = true;
  request.prompt.insert(request.prompt.end(), {40, 42, 20, 43, 41, newline, 44, newline, 1, colon, 25});
  world.engine().submit(request);
  world.engine().submit(simple(2));
  world.run();
  CHECK(world.of(1).failure.find("open block") != std::string::npos);
  CHECK(world.of(2).finished && world.of(2).failure.empty());
  request.id = 3;
  request.max_tokens = 0;
  request.prompt_logprobs = 0;
  CHECK_EQ(world.alone(request).prompt_bits.size(), (request.prompt.size() - 1) * 2);
  world.engine().check_integrity();
}

TEST(a_prompt_beyond_the_context_fails_by_itself) {
  World world({});
  Request request = simple(1);
  request.prompt.assign(400, 20);
  world.engine().submit(request);
  world.run();
  CHECK(world.of(1).failure.find("takes 400 positions") != std::string::npos);
  // Branches share positions: more tokens than the context has positions are no fault.
  request.id = 2;
  request.parallel.enabled = true;
  request.prompt = {im_start, assistant, newline, 40, 42, 20, 43, 42, 20, 43, 41, newline};
  for (int branch = 0; branch < 2; ++branch) {
    request.prompt.insert(request.prompt.end(), {44, newline, 1, colon});
    request.prompt.insert(request.prompt.end(), 250, 21);
    request.prompt.insert(request.prompt.end(), {45, newline});
  }
  request.prompt.insert(request.prompt.end(), {46, newline});
  CHECK_EQ(world.alone(request).failure, "");
  CHECK_EQ(world.of(2).usage.completion_tokens, 20u);
}

TEST(the_waiting_queue_is_bounded) {
  World world({.options = {.max_running = 2, .max_waiting = 3}});
  for (RequestId id = 1; id <= 5; ++id) world.engine().submit(simple(id));
  try {
    world.engine().submit(simple(6));
    throw check::Failed("a sixth request was taken");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::queue_full);
  }
  world.run();
  for (RequestId id = 1; id <= 5; ++id) CHECK_EQ(world.of(id).usage.completion_tokens, 20u);
  world.engine().submit(simple(6));
  world.run();
  CHECK(world.of(6).finished);
}

TEST(cancelling_gives_everything_back) {
  World world({.rows = 16, .slots = 512});
  for (RequestId id = 1; id <= 4; ++id) world.engine().submit(branching(id, 4, 90));
  for (RequestId id = 1; id <= 4; ++id) {
    for (int i = 0; i < 7; ++i) world.engine().step();
    world.engine().cancel(id);
    world.engine().step();
    world.engine().check_integrity();
    CHECK(world.of(id).finished);
    CHECK(world.of(id).reasons.at(0) == FinishReason::cancelled);
  }
  CHECK(!world.engine().step());
  const auto stats = world.engine().stats();
  CHECK_EQ(stats.free + stats.cached, 512u);
}

TEST(prefixes_are_shared_across_turns_and_blocks) {
  World world({});
  const Request first = branching(1, 3, 80);
  const auto answer = world.alone(first);
  CHECK_EQ(answer.usage.blocks, 1u);
  // The flat conversation so far: the block's branches lie between the trunk's fork and its takeaway.
  std::vector<int32_t> flat = first.prompt;
  const auto& trunk = answer.branches.at("0").tokens;
  const auto fork = std::ranges::find(trunk, 41) - trunk.begin() + 2;
  flat.insert(flat.end(), trunk.begin(), trunk.begin() + fork);
  for (uint32_t b = 1; b <= 3; ++b) {
    const auto& branch = answer.branches.at("0/0." + std::to_string(b - 1)).tokens;
    flat.insert(flat.end(), branch.begin(), branch.end());
  }
  flat.insert(flat.end(), trunk.begin() + fork, trunk.end());
  const size_t computed = flat.size() - 1;  // the last sampled token was never fed back
  flat.insert(flat.end(),
              {im_end, newline, im_start, user, newline, 25, im_end, newline, im_start, assistant, newline});
  Request next = simple(2);
  next.prompt = flat;
  next.parallel.enabled = true;
  next.parallel.max_branches = 3;
  const auto cached = world.alone(next);
  CHECK_EQ(cached.usage.cached_tokens, computed);

  World fresh({.options = {.prefix_cache = false}});
  CHECK_EQ(fresh.alone(next).difference(cached), "");
}

TEST(samples_of_one_request_share_their_prompt) {
  World world({.slots = 256});
  Request request = simple(1, 60);
  request.n = 4;
  request.sampling.temperature = 1.0f;
  const auto together = world.alone(request);
  CHECK_EQ(together.usage.prompt_tokens, 13u);
  std::set<std::vector<int32_t>> different;
  for (uint32_t i = 0; i < 4; ++i) different.insert(together.branches.at(std::to_string(i)).tokens);
  CHECK_EQ(different.size(), 4u);
  CHECK_EQ(world.engine().stats().prompt_tokens, 13u);
}

TEST(branches_of_one_request_do_not_starve_others) {
  World world({.rows = 8});
  world.engine().submit(branching(1, 12, 300));
  for (int i = 0; i < 20; ++i) world.engine().step();
  const auto before = world.engine().stats().steps;
  world.engine().submit(simple(2, 20));
  while (!world.of(2).finished) world.engine().step();
  // One step each for the prompt's two chunks and every token, and the step that takes it in.
  CHECK(world.engine().stats().steps - before <= 2 * 13 + 20 + 2);
  world.engine().cancel(1);
  world.run();
}

TEST(rows_are_dealt_evenly) {
  using schedule::deal;
  const auto total = [](const std::vector<uint32_t>& got) {
    uint32_t sum = 0;
    for (const auto rows : got) sum += rows;
    return sum;
  };
  const std::vector<schedule::Want> wants{{100, false}, {1, false}, {3, false}, {500, true}, {500, true}};
  const auto got = deal(wants, 64, 0);
  CHECK_EQ(total(got), 64u);
  CHECK_EQ(got[1], 1u);
  CHECK_EQ(got[2], 3u);
  CHECK_EQ(got[0], 52u);
  CHECK_EQ(got[3], 8u);
  CHECK_EQ(got[4], 0u);
  const std::vector<schedule::Want> crowd(10, {4, false});
  std::vector<uint32_t> sum(10, 0);
  for (uint64_t turn = 0; turn < 10; ++turn) {
    const auto rows = deal(crowd, 7, turn);
    CHECK_EQ(total(rows), 7u);
    for (size_t i = 0; i < 10; ++i) sum[i] += rows[i];
  }
  for (const auto rows : sum) CHECK_EQ(rows, 7u);
}

// Batches of fewer rows than eight: bulk work has its eighth over the turns, and everyone else what is left, evenly.
TEST(few_rows_are_dealt_over_turns) {
  for (uint32_t rows = 1; rows < 8; ++rows) {
    std::vector<schedule::Want> wants(8, {100, false});
    wants.push_back({1000, true});
    std::vector<uint32_t> sum(9, 0);
    for (uint64_t turn = 0; turn < 64; ++turn) {
      const auto got = schedule::deal(wants, rows, turn);
      for (size_t i = 0; i < 9; ++i) sum[i] += got[i];
    }
    CHECK_EQ(sum[8], 8 * rows);
    for (size_t i = 0; i < 8; ++i) CHECK(sum[i] + 1 >= 7 * rows && sum[i] <= 7 * rows + 1);
  }
  CHECK_EQ(schedule::deal(std::vector<schedule::Want>{{100, false}, {1000, true}}, 1, 0)[0], 1u);
  CHECK_EQ(schedule::deal(std::vector<schedule::Want>{{0, false}, {1000, true}}, 1, 0)[1], 1u);
}

TEST(submits_and_cancels_from_many_threads) {
  World world({.threads = 2, .rows = 32, .slots = 600, .options = {.max_running = 6, .max_waiting = 1000}});
  world.engine().start();
  std::vector<std::thread> callers;
  for (uint32_t caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&, caller] {
      RequestMaker maker(caller);
      for (uint32_t i = 0; i < 25; ++i) {
        Request request = maker.make(caller * 1000 + i + 1);
        if (request.prompt.size() + uint64_t{request.n} * request.max_tokens > 600) continue;
        world.engine().submit(request);
        if (maker.chance(3)) world.engine().cancel(request.id);
        if (maker.chance(10)) world.engine().check_integrity();
        (void)world.engine().stats();
      }
    });
  }
  for (auto& caller : callers) caller.join();
  while (world.engine().stats().running + world.engine().stats().waiting) std::this_thread::yield();
  world.engine().check_integrity();
  world.engine().close();
  const auto stats = world.engine().stats();
  CHECK_EQ(stats.free + stats.cached, stats.slots);
}
