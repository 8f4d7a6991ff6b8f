// What the CPU backend refuses, says of itself, and how its threads run tasks.
#include <atomic>

#include "check.h"
#include "compute/cpu/thread_pool.h"
#include "compute/support.h"

using namespace support;
using npr::compute::Isa;
using npr::compute::ThreadPool;

namespace {
bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
std::string kv_error(npr::compute::KvShape shape, uint32_t slots, uint32_t q_heads) {
  auto backend = npr::compute::make_cpu_backend({.threads = 1});
  const npr::compute::Rope rope{std::vector<float>(shape.head_dim / 2)};
  return CHECK_THROWS(backend->allocate_kv(shape, slots, q_heads, rope));
}
}  // namespace

TEST(describes_itself) {
  CHECK_EQ(npr::compute::make_cpu_backend({.threads = 2, .isa = Isa::plain})->description(), "cpu plain, 2 threads");
  CHECK_EQ(npr::compute::make_cpu_backend({.threads = 1, .isa = Isa::plain})->description(), "cpu plain, 1 thread");
  CHECK_EQ(
      npr::compute::make_cpu_backend({.threads = 2, .isa = Isa::plain, .weights = WeightFormat::int8})->description(),
      "cpu plain, int8 weights, 2 threads");
  CHECK(contains(npr::compute::make_cpu_backend({})->description(), "cpu "));
}

TEST(unsupported_heads_are_refused) {
  CHECK(contains(kv_error({1, 2, 40}, 16, 4), "head_dim is 40"));
  CHECK(contains(kv_error({1, 2, 272}, 16, 4), "head_dim is 272"));
  CHECK(contains(kv_error({1, 2, 64}, 16, 5), "5 query heads"));
  CHECK(contains(kv_error({1, 0, 64}, 16, 4), "KV heads"));
}

TEST(a_pool_beyond_memory_is_refused) {
  CHECK(contains(kv_error({64, 64, 256}, UINT32_MAX, 64), "the system can't give"));
}

TEST(a_batch_must_fit_its_arrays) {
  auto backend = npr::compute::make_cpu_backend({.threads = 1});
  backend->allocate_kv({1, 1, 16}, 20, 1, {std::vector<float>(8)});
  const npr::compute::Run run{0, 2};
  const npr::compute::Sequence one{{&run, 1}, 2, 1}, long_path{{&run, 1}, 3, 1};
  const std::vector<int32_t> position{0};
  backend->begin(position, std::vector<npr::compute::Slot>{1}, {&one, 1});
  CHECK_THROWS(backend->begin(position, std::vector<npr::compute::Slot>{20}, {&one, 1}));
  CHECK_THROWS(backend->begin(position, std::vector<npr::compute::Slot>{1, 2}, {&one, 1}));
  CHECK_THROWS(backend->begin(position, std::vector<npr::compute::Slot>{1}, {&long_path, 1}));
}

TEST(every_task_runs_once) {
  for (uint32_t threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    CHECK_EQ(pool.size(), threads);
    for (uint32_t round = 0; round < 300; ++round) {
      const uint32_t count = round % 17;
      std::vector<std::atomic<uint32_t>> runs(count);
      pool.run(count, [&](uint32_t index, uint32_t thread) {
        CHECK(thread < threads);
        ++runs[index];
      });
      for (auto& r : runs) CHECK_EQ(r.load(), 1u);
      std::atomic<uint32_t> threads_seen{0};
      pool.each([&](uint32_t thread) { threads_seen += 1u << (4 * thread); });
      CHECK_EQ(threads_seen.load(), 0x11111u & ((1u << (4 * threads)) - 1));
    }
  }
}

TEST(plain_results_are_visible_after_a_run) {  // for the thread sanitizer
  ThreadPool pool(3);
  std::vector<uint32_t> values(1000, 1);
  for (int round = 0; round < 50; ++round) {
    pool.run(1000, [&](uint32_t i, uint32_t) { values[i] += 1; });
    for (uint32_t& v : values) v += 1;
  }
  for (uint32_t v : values) CHECK_EQ(v, 101u);
}

TEST(an_exception_reaches_the_caller_and_the_pool_goes_on) {
  ThreadPool pool(3);
  for (uint32_t bad = 0; bad < 20; ++bad) {
    const std::string message = CHECK_THROWS(pool.run(20, [&](uint32_t i, uint32_t) {
      if (i == bad) throw std::runtime_error("task " + std::to_string(i));
    }));
    CHECK_EQ(message, "task " + std::to_string(bad));
  }
  std::atomic<uint32_t> done{0};
  pool.run(20, [&](uint32_t, uint32_t) { ++done; });
  CHECK_EQ(done.load(), 20u);
}
