#include "gpu/race_check.h"

#include <algorithm>
#include <string>

#include "gpu/warp.h"

namespace npr::gpu {
namespace {

[[noreturn]] void race(const char* what, uint32_t warp, uint32_t other, uint32_t offset) {
  fault("shared memory: a race at " + std::to_string(offset) + ": " + what + " of warp " + std::to_string(warp) +
        " of the cluster, and nothing orders it with that of warp " + std::to_string(other));
}

}  // namespace

RaceCheck::RaceCheck(uint32_t warps, uint32_t blocks, uint32_t bytes)
    : warps_(warps), words_((bytes + word_bytes - 1) / word_bytes) {
  clocks_.resize(warps);
  writes_.resize(size_t{blocks} * words_);
  reads_.resize(writes_.size() * warps);
}

void RaceCheck::start() {
  for (uint32_t w = 0; w < warps_; ++w) {
    clocks_[w].assign(warps_, 0);
    clocks_[w][w] = 1;
  }
  objects_.clear();
  std::ranges::fill(writes_, Write{});
  std::ranges::fill(reads_, 0u);
}

void RaceCheck::read(uint32_t warp, const Clock& at, uint32_t block, uint32_t offset, uint32_t bytes) {
  for (uint32_t i = offset / word_bytes; i <= (offset + bytes - 1) / word_bytes; ++i) {
    const size_t w = word(block, i * word_bytes);
    const Write& last = writes_[w];
    if (last.time > at[last.warp] && last.warp != warp) race("a read", warp, last.warp, i * word_bytes);
    reads_[w * warps_ + warp] = std::max(reads_[w * warps_ + warp], at[warp]);
  }
}

void RaceCheck::write(uint32_t warp, const Clock& at, uint32_t block, uint32_t offset, uint32_t bytes) {
  for (uint32_t i = offset / word_bytes; i <= (offset + bytes - 1) / word_bytes; ++i) {
    const size_t w = word(block, i * word_bytes);
    const Write& last = writes_[w];
    if (last.time > at[last.warp] && last.warp != warp) race("a write", warp, last.warp, i * word_bytes);
    for (uint32_t other = 0; other < warps_; ++other) {
      if (other != warp && reads_[w * warps_ + other] > at[other]) race("a write", warp, other, i * word_bytes);
    }
    writes_[w] = {warp, at[warp]};
  }
}

void RaceCheck::join(Clock& to, const Clock& from) {
  to.resize(std::max(to.size(), from.size()));
  for (size_t i = 0; i < from.size(); ++i) to[i] = std::max(to[i], from[i]);
}

void RaceCheck::meet(std::span<const uint32_t> warps) {
  Clock all;
  for (const uint32_t w : warps) join(all, clocks_[w]);
  for (const uint32_t w : warps) {
    join(clocks_[w], all);
    ++clocks_[w][w];
  }
}

void RaceCheck::release(uint32_t warp, uint64_t object) {
  join(objects_[object], clocks_[warp]);
  ++clocks_[warp][warp];
}

void RaceCheck::acquire(uint32_t warp, uint64_t object) { join(clocks_[warp], objects_[object]); }

}  // namespace npr::gpu
