// What goes on in the background of a warp: copies, and reads of matrix instructions.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace npr::gpu {

// Work in the background by groups, of which all but the last few are waited for.
template <class Item>
struct Groups {
  std::vector<Item> open;
  std::vector<std::vector<Item>> closed;
  void commit() {
    closed.push_back(std::move(open));
    open.clear();
  }
  template <class F>
  void wait(size_t pending, F done) {
    while (closed.size() > pending) {
      for (const Item& item : closed.front()) done(item);
      closed.erase(closed.begin());
    }
  }
};

// Copies that happen at once or when they are waited for: a program may rely on neither.
struct Copies : Groups<std::function<void()>> {
  void add(bool now, std::function<void()> copy) {
    if (now) {
      copy();
    } else {
      open.push_back(std::move(copy));
    }
  }
  void wait(size_t pending) {
    Groups::wait(pending, [](const auto& copy) { copy(); });
  }
};

// Shared memory that matrix instructions may still be reading, addresses of the window.
struct Reads : Groups<std::pair<uint32_t, uint32_t>> {
  void add(uint32_t begin, uint32_t end) { open.push_back({begin, end}); }
  void wait(size_t pending) {
    Groups::wait(pending, [](const auto&) {});
  }
  bool none() const { return count() == 0; }
  uint32_t count() const {
    size_t out = open.size();
    for (const auto& group : closed) out += group.size();
    return static_cast<uint32_t>(out);
  }
  bool touch(uint32_t begin, uint32_t end) const {
    const auto in = [&](const auto& group) {
      for (const auto& [first, last] : group) {
        if (begin < last && first < end) return true;
      }
      return false;
    };
    return in(open) || std::any_of(closed.begin(), closed.end(), in);
  }
};

}  // namespace npr::gpu
