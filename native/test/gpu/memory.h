// What a kernel may read and write: allocations, by address.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

namespace npr::gpu {

struct Allocation {
  uint64_t begin = 0, bytes = 0;
  bool host = false;  // pinned
};

class Memory {
 public:
  static Memory& get();

  // 256-byte aligned, filled with bytes that no program should rely on; nullptr where none is left.
  void* allocate(size_t bytes, bool host);
  bool free(void* data);
  // What `address` lies in; bytes 0 if nothing.
  Allocation find(uint64_t address);
  size_t free_bytes();
  size_t total_bytes() const { return total_; }

 private:
  Memory();

  std::mutex mutex_;
  std::map<uint64_t, Allocation> allocations_;
  size_t total_, used_ = 0;
};

// Checks accesses of one warp, most of which are to allocations that it used before.
class MemoryView {
 public:
  // The allocation that has them, or nullptr.
  const Allocation* find(uint64_t address, uint64_t bytes) {
    for (const Allocation& a : known_) {
      if (inside(a, address, bytes)) return &a;
    }
    Allocation& a = known_[next_++ % known_.size()];
    a = Memory::get().find(address);
    return inside(a, address, bytes) ? &a : nullptr;
  }
  void forget() { known_ = {}; }

 private:
  static bool inside(const Allocation& a, uint64_t address, uint64_t bytes) {
    return address - a.begin < a.bytes && a.bytes - (address - a.begin) >= bytes;
  }

  std::array<Allocation, 4> known_;
  uint32_t next_ = 0;
};

}  // namespace npr::gpu
