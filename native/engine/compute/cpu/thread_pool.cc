#include "compute/cpu/thread_pool.h"

#include <algorithm>
#include <utility>

#include "error.h"

namespace npr::compute {
namespace {

// 10 to 20 microseconds: longer than the gap between two operations of a step, short beside a scheduler's time slice.
constexpr int spins = 1000;
// About 65 more where nobody else wants to run, who otherwise does: waking a thread takes 15 to 30.
constexpr int yields = 400;

// Of a run of many tasks: so that all threads end at about the same time.
constexpr uint32_t parts_a_thread = 32;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// Waits until `value` is no longer `old`: spins for a moment, then lets others run, then sleeps in the kernel.
void wait_while(std::atomic<uint32_t>& value, uint32_t old) {
  for (int i = 0; i < spins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  for (int i = 0; i < yields; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    std::this_thread::yield();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(uint32_t threads) : placement_(threads) {
  ensure(threads >= 1, "a pool has at least one thread");
  for (uint32_t t = 1; t < threads; ++t) workers_.emplace_back([this, t] { worker(t); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (auto& w : workers_) w.join();
}

void ThreadPool::call(uint32_t thread) {
  try {
    (*work_)(thread);
  } catch (...) {
    std::lock_guard lock(failure_mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void ThreadPool::worker(uint32_t thread) {
  for (uint32_t seen = 0;; ++seen) {
    wait_while(epoch_, seen);
    if (stop_.load(std::memory_order_relaxed)) return;
    placement_.settle(thread);
    call(thread);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_one();
  }
}

void ThreadPool::each(const std::function<void(uint32_t)>& work) {
  work_ = &work;
  if (!workers_.empty()) {
    placement_.settle(0);
    running_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
  }
  call(0);
  for (uint32_t left; (left = running_.load(std::memory_order_acquire)) != 0;) wait_while(running_, left);
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadPool::run_ahead(uint32_t count, const std::function<void(uint32_t, uint32_t, uint32_t)>& task) {
  std::atomic<uint32_t> next{0};
  const auto take = [&] { return std::min(count, next.fetch_add(1, std::memory_order_relaxed)); };
  const auto work = [&](uint32_t thread) {
    for (uint32_t i = take(), following; i < count; i = following) {
      following = take();
      task(i, following, thread);
    }
  };
  if (count <= 1) return work(0);
  each(work);
}

void ThreadPool::run(uint32_t count, const std::function<void(uint32_t, uint32_t)>& task) {
  if (count <= 1 || workers_.empty()) {
    for (uint32_t i = 0; i < count; ++i) task(i, 0);
    return;
  }
  // Many small tasks are taken some at a time: threads that count one by one wait longer for the counter than for work.
  const uint32_t some = (count - 1) / (size() * parts_a_thread) + 1;
  std::atomic<uint32_t> next{0};
  each([&](uint32_t thread) {
    for (uint32_t first; (first = next.fetch_add(some, std::memory_order_relaxed)) < count;) {
      for (uint32_t i = first; i < std::min(first + some, count); ++i) task(i, thread);
    }
  });
}

}  // namespace npr::compute
