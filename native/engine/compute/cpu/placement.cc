#include "compute/cpu/placement.h"

#include <sched.h>

#include <algorithm>
#include <cstring>

namespace npr::compute {
namespace {

// A thread moves at most this often: where other programs keep the CPUs busy, it is theirs as much to move.
constexpr auto between_moves = std::chrono::milliseconds(10);

void move_to(int cpu) {
  cpu_set_t allowed, one, any, now;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) return;
  // Linux takes a set for a wish that outlives changes of the cpuset. All CPUs are no wish: only if somebody else had
  // one does the thread need it back.
  std::memset(&any, 0xff, sizeof any);
  sched_setaffinity(0, sizeof any, &any);
  if (sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&now, &allowed)) return;
  sched_setaffinity(0, sizeof allowed, &allowed);
}

}  // namespace

int Placement::unused_cpu(uint32_t thread) const {
  cpu_set_t unused;
  if (sched_getaffinity(0, sizeof unused, &unused) != 0) return -1;  // more CPUs than the set can name
  for (const Seat& seat : seats_) {
    const int cpu = seat.cpu.load(std::memory_order_relaxed);
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_CLR(cpu, &unused);
  }
  const int count = CPU_COUNT(&unused);
  if (count == 0) return -1;
  // threads that look for one at the same time find different ones
  int skip = static_cast<int>(thread) % count, cpu = 0;
  while (!CPU_ISSET(cpu, &unused) || skip-- > 0) ++cpu;
  return cpu;
}

void Placement::settle(uint32_t thread) {
  Seat& seat = seats_[thread];
  const int here = sched_getcpu();
  if (here < 0) return;
  // only what changes is written, so that the others' copies of it last
  if (seat.cpu.load(std::memory_order_relaxed) != here) seat.cpu.store(here, std::memory_order_relaxed);
  const auto is_here = [&](const Seat& other) { return other.cpu.load(std::memory_order_relaxed) == here; };
  if (std::none_of(seats_.begin(), seats_.begin() + thread, is_here)) return;

  const auto now = std::chrono::steady_clock::now();
  if (now - seat.moved < between_moves) return;
  seat.moved = now;
  const int cpu = unused_cpu(thread);
  if (cpu < 0) return;
  seat.cpu.store(cpu, std::memory_order_relaxed);
  move_to(cpu);
}

}  // namespace npr::compute
