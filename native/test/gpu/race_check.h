// Races on shared memory between warps of a cluster: an access, and a write of another warp that nothing orders with
// it.
//
// Vector clocks, as FastTrack has them (Flanagan and Freund, 2009): a warp's clock says up to where it has seen every
// warp of the cluster. Barriers of blocks and of the cluster and mbarriers pass clocks on; a copy in the background
// counts as its warp's, at the time when it was started. What lanes of one warp do to each other is not seen, nor
// atomics; neighbours within four bytes count as one.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace npr::gpu {

using Clock = std::vector<uint32_t>;

class RaceCheck {
 public:
  // `bytes` of shared memory in each block.
  RaceCheck(uint32_t warps, uint32_t blocks, uint32_t bytes);

  // Forgets all of the cluster before.
  void start();

  // Bytes of a block's shared memory; `at`: the clock of `warp` when it did so. Throw Fault.
  void read(uint32_t warp, const Clock& at, uint32_t block, uint32_t offset, uint32_t bytes);
  void write(uint32_t warp, const Clock& at, uint32_t block, uint32_t offset, uint32_t bytes);
  const Clock& clock(uint32_t warp) const { return clocks_[warp]; }
  // The clock that a copy takes along; what the warp does next is later.
  Clock started(uint32_t warp) {
    Clock out = clocks_[warp];
    ++clocks_[warp][warp];
    return out;
  }

  // Warps that have met: each has seen what all did before.
  void meet(std::span<const uint32_t> warps);
  // What the warp, or one with this clock, did before is seen by who waits for the object.
  void release(uint32_t warp, uint64_t object);
  void release(const Clock& at, uint64_t object) { join(objects_[object], at); }
  void acquire(uint32_t warp, uint64_t object);

 private:
  static constexpr uint32_t word_bytes = 4;
  struct Write {
    uint32_t warp = 0, time = 0;
  };

  static void join(Clock& to, const Clock& from);
  size_t word(uint32_t block, uint32_t offset) const { return size_t{block} * words_ + offset / word_bytes; }

  const uint32_t warps_, words_;
  std::vector<Clock> clocks_;
  std::map<uint64_t, Clock> objects_;
  std::vector<Write> writes_;    // [blocks, words]: the last
  std::vector<uint32_t> reads_;  // [blocks, words, warps]: each warp's last, 0: none
};

}  // namespace npr::gpu
