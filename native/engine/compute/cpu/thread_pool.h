// A fixed pool of threads; the caller is one of them.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "compute/cpu/placement.h"

namespace npr::compute {

// Thread safety: one thread at a time calls run() or each(); calls do not nest.
class ThreadPool {
 public:
  explicit ThreadPool(uint32_t threads);  // at least 1; the caller counts as one
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  uint32_t size() const { return static_cast<uint32_t>(workers_.size()) + 1; }
  // Calls work(thread) once on every thread, thread in [0, size()), the caller being 0. Returns when all have returned;
  // rethrows the first exception.
  void each(const std::function<void(uint32_t)>& work);
  // Calls task(index, thread) for every index in [0, count), on any thread, on each in order.
  void run(uint32_t count, const std::function<void(uint32_t, uint32_t)>& task);
  // The same for task(index, following, thread): `following` is what the same thread takes next, for it to be fetched
  // ahead of time; `count` where nothing follows.
  void run_ahead(uint32_t count, const std::function<void(uint32_t, uint32_t, uint32_t)>& task);

 private:
  void worker(uint32_t thread);
  void call(uint32_t thread);

  Placement placement_;
  std::vector<std::thread> workers_;
  const std::function<void(uint32_t)>* work_ = nullptr;  // published by epoch_
  alignas(64) std::atomic<uint32_t> epoch_{0};           // counts calls of each()
  alignas(64) std::atomic<uint32_t> running_{0};         // workers that have not finished this epoch
  std::atomic<bool> stop_{false};
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
};

}  // namespace npr::compute
