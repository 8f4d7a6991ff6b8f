// Which tokens a row may sample.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "error.h"

namespace npr::sample {

// All tokens, or the union of the `allow` lists if there is one, less the `forbid` lists. Holds views: the lists (tags
// by state, whitespace tokens, end tokens, a request's stop tokens) must outlive it. They need no order and may
// overlap.
class TokenMask {
 public:
  TokenMask& allow(std::span<const int32_t> tokens) { return push(allowed_, allowed_lists_, tokens); }
  TokenMask& forbid(std::span<const int32_t> tokens) { return push(forbidden_, forbidden_lists_, tokens); }

  bool allows(int32_t token) const {
    const auto holds = [&](std::span<const int32_t> list) { return std::ranges::find(list, token) != list.end(); };
    return (!restricted() || std::ranges::any_of(allowed(), holds)) && std::ranges::none_of(forbidden(), holds);
  }
  bool restricted() const { return allowed_lists_ > 0; }
  std::span<const std::span<const int32_t>> allowed() const { return {allowed_.data(), allowed_lists_}; }
  std::span<const std::span<const int32_t>> forbidden() const { return {forbidden_.data(), forbidden_lists_}; }
  // Of a vocabulary of this size, what `allow` lists hold, ascending; some may be forbidden.
  void list(uint32_t vocab, std::vector<int32_t>& out) const {
    out.clear();
    for (const auto tokens : allowed()) out.insert(out.end(), tokens.begin(), tokens.end());
    std::ranges::sort(out);
    const auto twice = std::ranges::unique(out);
    out.erase(twice.begin(), twice.end());
    std::erase_if(out, [&](int32_t token) { return static_cast<uint32_t>(token) >= vocab; });
  }

 private:
  static constexpr uint32_t max_lists = 4;
  using Lists = std::array<std::span<const int32_t>, max_lists>;

  TokenMask& push(Lists& lists, uint32_t& count, std::span<const int32_t> tokens) {
    ensure(count < max_lists, "a token mask is made of at most 4 lists of each kind");
    lists[count++] = tokens;
    return *this;
  }

  Lists allowed_, forbidden_;
  uint32_t allowed_lists_ = 0, forbidden_lists_ = 0;
};

}  // namespace npr::sample
