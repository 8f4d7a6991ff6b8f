#pragma once
#include <cstdint>
#include <unordered_map>

namespace npr::gpu {

// Global memory that kernels have written to, by lines of 64 bytes.
class Written {
 public:
  void add(uint64_t address) {
    const uint64_t page = address / page_bytes;
    if (!last_ || page != last_page_) {
      last_ = &pages_[page];
      last_page_ = page;
    }
    *last_ |= line(address);
  }
  bool has(uint64_t address) const {
    const auto found = pages_.find(address / page_bytes);
    return found != pages_.end() && found->second & line(address);
  }
  void merge(const Written& other) {
    for (const auto& [page, lines] : other.pages_) pages_[page] |= lines;
  }
  void clear() {
    pages_.clear();
    last_ = nullptr;
  }

 private:
  static constexpr uint64_t line_bytes = 64, page_bytes = 64 * line_bytes;
  static uint64_t line(uint64_t address) { return uint64_t{1} << (address % page_bytes / line_bytes); }

  std::unordered_map<uint64_t, uint64_t> pages_;  // a bit a line
  uint64_t* last_ = nullptr;
  uint64_t last_page_ = 0;
};

}  // namespace npr::gpu
