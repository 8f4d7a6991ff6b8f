#include "compute/cpu/placement.h"

#include <sched.h>

#include "check.h"

using npr::compute::Placement;

namespace {

cpu_set_t allowed() {
  cpu_set_t set;
  CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
  return set;
}

void require_cpus(int count) {
  const cpu_set_t set = allowed();
  if (CPU_COUNT(&set) < count) throw check::Skipped("too few CPUs");
}

}  // namespace

TEST(a_thread_leaves_a_cpu_that_an_earlier_one_is_on) {
  require_cpus(2);
  const cpu_set_t before = allowed();
  for (int i = 0; i < 20; ++i) {
    Placement placement(2);
    placement.settle(0);
    const int first = sched_getcpu();
    placement.settle(1);
    CHECK(sched_getcpu() != first);
    const cpu_set_t after = allowed();
    CHECK(CPU_EQUAL(&after, &before));
  }
}

TEST(an_earlier_thread_stays) {
  Placement placement(2);
  placement.settle(1);
  const int first = sched_getcpu();
  placement.settle(0);
  CHECK(sched_getcpu() == first);
}

TEST(nothing_moves_where_cpus_are_too_few) {
  const cpu_set_t before = allowed();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
  Placement placement(3);
  for (uint32_t thread : {0, 1, 2}) placement.settle(thread);
  const cpu_set_t after = allowed();
  CHECK(CPU_EQUAL(&after, &one));
  CHECK(sched_setaffinity(0, sizeof before, &before) == 0);
}
