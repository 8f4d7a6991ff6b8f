// A step that breaks off: wherever it does, every request hears of its end once, every slot comes back, and the engine
// serves on as if nothing had been.
#include <cstdlib>
#include <new>

#include "check.h"
#include "schedule/stub_backend.h"
#include "schedule/world.h"

using namespace npr;
using namespace test;

namespace {

// Throws at the `left`th moment from now, once.
struct Fuse {
  uint64_t left = 0;  // 0: never
  uint64_t seen = 0;
  bool burns() {
    ++seen;
    return left && --left == 0;
  }
};

Fuse allocations;
bool counting = false;  // allocations made now are the engine's

struct Counting {
  Counting() { counting = true; }
  ~Counting() { counting = false; }
};

// An engine over the stub, short of slots, with all kinds of requests at work.
class Rig {
 public:
  Fuse calls;

  Rig() {
    auto backend = std::make_unique<StubBackend>();
    backend->on_call = [this] {
      if (calls.burns()) throw Error(ErrorCode::internal, "a fault of the backend");
    };
    const uint64_t slot_bytes = checkpoint().config().kv_shape().slot_bytes();
    auto model = std::make_unique<model::Model>(checkpoint(), std::move(backend), slots * slot_bytes, 24);
    engine_ = std::make_unique<schedule::Engine>(
        std::move(model), vocabulary(), schedule::Options{.max_running = 4, .max_waiting = 16},
        [this](std::vector<Event>&& events) {
          const bool was = std::exchange(counting, false);
          for (const auto& event : events) {
            if (event.type == Event::Type::finished || event.type == Event::Type::failed) ++ends_[event.request];
            transcripts_[event.request].take(event);
          }
          counting = was;
        });
  }

  // A fixed load; `base` keeps ids apart. One request is cancelled halfway.
  void run(RequestId base) {
    uint32_t submitted = 0;
    for (RequestId i = 0; i < count; ++i) {
      RequestMaker maker(100 + i);
      Request request = maker.make(base + i);
      request.max_tokens = std::min(request.max_tokens, 40u);
      if (request.prompt.size() + uint64_t{request.n} * request.max_tokens > slots) continue;
      engine_->submit(request);
      ++submitted;
    }
    for (uint32_t steps = 0; step(); ++steps) {
      if (steps == 12) engine_->cancel(base + 4);
    }
    for (RequestId i = 0; i < count; ++i) CHECK(ends_[base + i] <= 1);
    uint32_t ended = 0;
    for (RequestId i = 0; i < count; ++i) ended += ends_[base + i];
    CHECK_EQ(ended, submitted);
    engine_->check_integrity();
    const auto stats = engine_->stats();
    CHECK_EQ(stats.running + stats.waiting, 0u);
    CHECK_EQ(stats.free + stats.cached, stats.slots);
  }
  std::string difference(RequestId a, RequestId b) {
    for (RequestId i = 0; i < count; ++i) {
      if (i == 4) continue;  // cancelled, at whatever it had come to
      const auto found = transcripts_[a + i].difference(transcripts_[b + i]);
      if (!found.empty()) return "request " + std::to_string(i) + ": " + found;
    }
    return "";
  }
  schedule::Engine& engine() { return *engine_; }

 private:
  static constexpr uint64_t slots = 128;
  static constexpr RequestId count = 8;
  bool step() {
    const Counting now;
    return engine_->step();
  }

  std::map<RequestId, Transcript> transcripts_;
  std::map<RequestId, uint32_t> ends_;
  std::unique_ptr<schedule::Engine> engine_;
};

}  // namespace

// Not inlined: the compiler would take them for a mismatched pair.
[[gnu::noinline]] void* operator new(size_t size) {
  if (counting && allocations.burns()) throw std::bad_alloc();
  if (void* const memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return std::malloc(size ? size : 1);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

TEST(the_load_is_worth_its_name) {
  Rig rig;
  rig.run(100);
  CHECK(rig.engine().stats().preemptions > 0);
  CHECK(rig.calls.seen > 500);
  CHECK(allocations.seen > 500);
}

TEST(a_backend_may_fail_at_any_call) {
  Rig rig;
  rig.run(1);
  const uint64_t calls = rig.calls.seen;
  RequestId base = 1000;
  for (uint64_t at = 1; at <= calls; at += check::stride(), base += 20) {
    rig.calls.left = at;
    rig.run(base);
    rig.calls.left = 0;
    if (at % 16 >= check::stride()) continue;
    rig.run(base + 10);
    CHECK_EQ(rig.difference(1, base + 10), "");
  }
}

TEST(memory_may_run_out_at_any_allocation) {
  Rig rig;
  rig.run(1);
  allocations.seen = 0;
  rig.run(11);
  const uint64_t count = allocations.seen;
  RequestId base = 1000;
  for (uint64_t at = 1; at <= count; at += check::stride(), base += 20) {
    allocations.left = at;
    rig.run(base);
    allocations.left = 0;
    if (at % 16 >= check::stride()) continue;
    rig.run(base + 10);
    CHECK_EQ(rig.difference(1, base + 10), "");
  }
}

TEST(a_request_that_memory_refuses_leaves_no_trace) {
  Rig rig;
  for (uint64_t at = 1;; ++at) {
    Request request = RequestMaker(1).make(7);
    request.max_tokens = 1;
    allocations.left = at;
    try {
      const Counting now;
      rig.engine().submit(std::move(request));
    } catch (const std::bad_alloc&) {
      continue;
    }
    break;
  }
  allocations.left = 0;
  rig.run(100);
  CHECK_EQ(rig.engine().stats().requests, 9u);
}
