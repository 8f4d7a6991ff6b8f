#include "compute/cpu/placement.h"

#include <sched.h>

#include "check.h"

using npr::compute::Placement;

namespace {

constexpr int trials = 20;

cpu_set_t allowed() {
  cpu_set_t set;
  CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
  return set;
}

bool equal(const cpu_set_t& a, const cpu_set_t& b) { return CPU_EQUAL(&a, &b); }

// What the calling thread may run on, for as long as it lives.
class Pinned {
 public:
  explicit Pinned(const cpu_set_t& set) {
    if (sched_setaffinity(0, sizeof set, &set) != 0) throw check::Skipped("this process may not choose its CPUs");
  }
  ~Pinned() { sched_setaffinity(0, sizeof before_, &before_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  const cpu_set_t before_ = allowed();
};

// Of many trials: the scheduler may move the thread just in between.
int times_moved(uint32_t first, uint32_t second) {
  int moved = 0;
  for (int i = 0; i < trials; ++i) {
    Placement placement(2);
    placement.settle(first);
    const int before = sched_getcpu();
    placement.settle(second);
    moved += sched_getcpu() != before;
  }
  return moved;
}

}  // namespace

TEST(a_thread_leaves_a_cpu_that_an_earlier_one_is_on) {
  const cpu_set_t before = allowed();
  if (CPU_COUNT(&before) < 2) throw check::Skipped("too few CPUs");
  const Pinned as_it_is(before);
  CHECK(times_moved(0, 1) > trials / 2);
  CHECK(equal(allowed(), before));
}

TEST(an_earlier_thread_stays) { CHECK(times_moved(1, 0) < trials / 2); }

TEST(a_thread_moves_again_only_after_a_while) {
  const cpu_set_t before = allowed();
  if (CPU_COUNT(&before) < 2) throw check::Skipped("too few CPUs");
  const Pinned as_it_is(before);
  int moved = 0;
  for (int i = 0; i < trials; ++i) {
    Placement placement(2);
    placement.settle(0);
    placement.settle(1);
    placement.settle(0);  // where thread 1 has gone
    const int there = sched_getcpu();
    placement.settle(1);
    moved += sched_getcpu() != there;
  }
  CHECK(moved < trials / 2);
}

TEST(a_thread_stays_among_the_cpus_that_it_was_given) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  const Pinned pinned(one);
  Placement placement(3);
  for (uint32_t thread : {0, 1, 2}) placement.settle(thread);
  CHECK(equal(allowed(), one));
}

TEST(a_set_that_somebody_chose_is_put_back) {
  const cpu_set_t before = allowed();
  if (CPU_COUNT(&before) < 3) throw check::Skipped("too few CPUs to leave one out");
  cpu_set_t some = before;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &some)) continue;
    CPU_CLR(cpu, &some);
    break;
  }
  const Pinned pinned(some);
  CHECK(times_moved(0, 1) > trials / 2);
  CHECK(equal(allowed(), some));
}
