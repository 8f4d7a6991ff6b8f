#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace npr::gpu {

// Memory for the registers of a cluster, kept from launch to launch: fresh pages would cost more than most launches.
class Arena {
 public:
  Arena() = default;
  explicit Arena(size_t bytes) {
    {
      const std::lock_guard lock(mutex());
      if (!kept().empty()) held_ = std::move(kept().back()), kept().pop_back();
    }
    if (held_.size() < bytes + alignment) held_.resize(bytes + alignment);
  }
  Arena(Arena&& other) = default;
  Arena& operator=(Arena&& other) = default;
  ~Arena() {
    const std::lock_guard lock(mutex());
    if (!held_.empty()) kept().push_back(std::move(held_));
  }

  uint8_t* get() { return held_.data() + (alignment - reinterpret_cast<uintptr_t>(held_.data()) % alignment); }

 private:
  static constexpr size_t alignment = 64;

  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }
  static std::vector<std::vector<uint8_t>>& kept() {
    static std::vector<std::vector<uint8_t>> all;
    return all;
  }

  std::vector<uint8_t> held_;
};

}  // namespace npr::gpu
