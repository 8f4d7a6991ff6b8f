// Keeps the threads of a pool on CPUs of their own.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

namespace npr::compute {

// Threads that wait awake look busy at odd moments only, and a scheduler may leave two of them on one CPU beside an
// idle one for seconds. In a virtual machine Linux does: it takes the CPU that its host has put to sleep for a busy
// one. Two threads of one CPU ran a linear layer of 16 rows at 30% of the speed of two.
class Placement {
 public:
  explicit Placement(uint32_t threads) : seats_(threads) {}

  // Notes where the calling thread is, the pool's `thread`-th; if an earlier one was seen on the same CPU, moves to one
  // that none is on. The CPUs that it may run on stay what they were; where they are too few, nothing happens.
  // Thread safety: any thread, each with a number of its own.
  void settle(uint32_t thread);

 private:
  struct alignas(64) Seat {
    std::atomic<int> cpu{-1};
    std::chrono::steady_clock::time_point moved;
  };
  std::vector<Seat> seats_;
};

}  // namespace npr::compute
