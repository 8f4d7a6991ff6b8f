#include "compute/cpu/placement.h"

#include <sched.h>

#include <algorithm>

namespace npr::compute {
namespace {

// A thread moves so often at the most: where other programs keep the CPUs busy, it is theirs as much to move.
constexpr auto between_moves = std::chrono::milliseconds(10);

}  // namespace

void Placement::settle(uint32_t thread) {
  Seat& seat = seats_[thread];
  const int here = sched_getcpu();
  seat.cpu.store(here, std::memory_order_relaxed);
  const auto is_here = [&](const Seat& other) { return other.cpu.load(std::memory_order_relaxed) == here; };
  if (std::none_of(seats_.begin(), seats_.begin() + thread, is_here)) return;

  const auto now = std::chrono::steady_clock::now();
  if (now - seat.moved < between_moves) return;
  seat.moved = now;
  cpu_set_t allowed, free;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;  // more CPUs than the set can name
  free = allowed;
  for (const Seat& other : seats_) {
    const int cpu = other.cpu.load(std::memory_order_relaxed);
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_CLR(cpu, &free);
  }
  if (CPU_COUNT(&free) == 0 || sched_setaffinity(0, sizeof free, &free) != 0) return;
  sched_setaffinity(0, sizeof allowed, &allowed);
  seat.cpu.store(sched_getcpu(), std::memory_order_relaxed);
}

}  // namespace npr::compute
