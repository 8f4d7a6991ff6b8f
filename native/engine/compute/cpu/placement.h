// Keeps the threads of a pool on CPUs of their own.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

namespace npr::compute {

// Threads that wait awake look busy at odd moments only, and a scheduler may leave two of them on one CPU beside an
// idle one for seconds. In a virtual machine Linux does: it takes a CPU that its host has put to sleep for a busy one.
// Two threads on one CPU ran a linear layer of 16 rows at 30% of what they do on two.
class Placement {
 public:
  explicit Placement(uint32_t threads) : seats_(threads) {}

  // Notes where the calling thread is, the pool's `thread`-th. If an earlier one was last seen on the same CPU, moves
  // to one that none of the pool was seen on, once in 10 ms at most; where there is none, nothing happens. What the
  // thread may run on stays what it was, but for the moment of the move: an affinity set from outside just then is
  // lost. Thread safety: any thread, each with a number of its own.
  void settle(uint32_t thread);

 private:
  struct alignas(64) Seat {
    std::atomic<int> cpu{-1};
    std::chrono::steady_clock::time_point moved;  // its own thread's
  };
  int unused_cpu(uint32_t thread) const;  // that the calling thread may run on; or -1

  std::vector<Seat> seats_;
};

}  // namespace npr::compute
