// mbarrier objects, as this device keeps them in their eight bytes of shared memory.
#pragma once
#include <cstdint>

namespace npr::gpu {

// A phase ends when `pending` arrivals have come and all bytes that were announced. Bytes may come before they are.
struct MBarrier {
  static constexpr uint32_t initialized = 0x5A;

  int32_t bytes;  // on their way
  uint32_t pending : 12, expected : 12, phase : 1, mark : 7;

  void init(uint32_t arrivals) { *this = {0, arrivals, arrivals, 0, initialized}; }
  void arrive() {
    --pending;
    settle();
  }
  void complete(uint32_t count) {
    bytes -= static_cast<int32_t>(count);
    settle();
  }
  // Whether the phase of this parity is over. The phase before the first has parity 1.
  bool over(uint32_t parity) const { return phase != (parity & 1); }

 private:
  void settle() {
    if (pending == 0 && bytes == 0) phase ^= 1, pending = expected;
  }
};
static_assert(sizeof(MBarrier) == 8);

struct Warp;
MBarrier& mbarrier_at(const Warp& w, uint32_t address);
// What it is called where races are looked for.
uint64_t mbarrier_object(const Warp& w, uint32_t address);

}  // namespace npr::gpu
