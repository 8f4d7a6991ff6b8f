// What executes: warps of blocks of a cluster, and the memory that they see.
#pragma once
#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <random>
#include <stdexcept>

#include "gpu/background.h"
#include "gpu/memory.h"
#include "gpu/program.h"
#include "gpu/race_check.h"
#include "gpu/written.h"

namespace npr::gpu {

// A kernel did what no kernel may: the launch fails with this, as a GPU's would.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Dim {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t{x} * y * z; }
};

struct Launch {
  const Kernel* kernel = nullptr;
  Dim grid, block, cluster;
  uint32_t dynamic_shared = 0;
  std::vector<uint8_t> parameters;
  // It may start before those before it have ended, of which these may still write what `before` says.
  bool overlaps = false;
  const Written* before = nullptr;
  bool races = false;  // are looked for
};

struct Cluster;

struct NamedBarrier {
  uint32_t warps = 0;  // that arrived
  uint32_t needed = 0;
  bool any = false;  // of bar.red.or's predicates
};

struct Block {
  Cluster* cluster = nullptr;
  uint32_t rank = 0;
  Dim at;
  std::vector<uint8_t> shared;  // from shared_begin on
  std::array<NamedBarrier, 16> barriers;
  uint32_t warps_left = 0;
  bool waited = false;  // for the launches before its own
};

// Lanes that go on together, from one instruction.
struct Group {
  uint32_t pc = 0, mask = 0;
  bool waits = false;  // at an instruction for lanes that have not come to it
};

enum class State : uint8_t { running, at_barrier, at_cluster_barrier, done };

struct Warp {
  Block* block = nullptr;
  const Kernel* kernel = nullptr;
  const Launch* launch = nullptr;
  Written* written = nullptr;
  uint32_t index = 0;       // in its block
  uint32_t in_cluster = 0;  // and in its cluster
  State state = State::running;
  uint32_t pc = 0, active = 0, live = 0;
  uint32_t limit = nowhere;  // where another group is met
  uint32_t futile = 0;       // regroupings without progress
  bool stalled = false;      // has just found that what it waits for has not come
  uint8_t barrier = 0;       // that it waits at
  bool arrived = false;      // at the cluster's barrier, and has not waited there
  uint32_t arrived_at = 0;   // the phase of the cluster's barrier
  std::vector<Group> others;
  uint8_t* file = nullptr;  // registers
  uint8_t* local = nullptr;
  std::mt19937 random;
  MemoryView view;

  Copies copies, stores;  // cp.async; cp.async.bulk from shared to global memory
  Reads matrix_reads;

  template <class T>
  T* reg(uint32_t at) const {
    return reinterpret_cast<T*>(file + at);
  }
  uint32_t& predicate(uint32_t at) const { return *reg<uint32_t>(at); }

  // The lanes of `mask` go to `target`, the others of the group go on.
  void jump(uint32_t mask, uint32_t target);
  void leave(uint32_t mask);
  // For instructions of all lanes of `wanted`, executed by `mask`: whether they are here. If not, the group waits and
  // another goes on.
  bool together(uint32_t wanted, uint32_t mask);
  // Goes on with the group that is furthest behind, joined by those that are as far.
  void regroup();
  void set_limit();

  enum class Use : uint8_t { read, write, unseen };  // unseen: it is looked for elsewhere
  // At most 64 bytes of global memory, within a line: of one allocation, and none that a launch before may still use.
  uint8_t* global_at(uint64_t address, uint64_t bytes, Use use);
  void note_use(uint64_t address, Use use);
  // Bytes of shared memory at an address of the window, of this block or, by mapa, of another of the cluster.
  uint8_t* shared(uint32_t address, uint32_t bytes, Use use) const;
  Block& block_of(uint32_t address) const;
  // What orders accesses of shared memory, where it is watched: release and acquire through an mbarrier or the
  // cluster's barrier, 0; the clock that a copy takes along.
  void release(uint64_t object) const;
  void acquire(uint64_t object) const;
  Clock now() const;  // what the warp does next is later
  bool coin() { return random() & 1; }
};

// How an mbarrier of a block is called there.
constexpr uint64_t object_of(uint32_t rank, uint32_t offset) { return uint64_t{rank + 1} << 32 | offset; }

constexpr uint32_t rank_shift = 24;  // addresses of the cluster's window: rank + 1 there, 0 is the own block

struct Cluster {
  std::vector<Block> blocks;
  std::vector<Warp> warps;
  uint32_t arrived = 0;  // warps at the cluster's barrier, in this phase
  uint32_t phase = 0;
  uint32_t warps_left = 0;
  uint32_t matrix_reads = 0;                     // what matrix instructions under way may read, of all warps
  std::vector<std::function<void()>> in_flight;  // tensor copies on their way
  std::unique_ptr<RaceCheck> races;              // where it is asked for

  // The warps that wait there go on.
  void release(Block& block, uint32_t barrier);
  // Where all that are left have come to the cluster's barrier.
  void settle();
};

// The 128-byte swizzle: of an address in shared memory, bits 4 to 6 are mixed with bits 7 to 9.
constexpr uint32_t swizzled_128(uint32_t address) { return address ^ (address >> 3 & 0x70); }

// Faults where a matrix instruction under way may read what is to be overwritten.
void check_unread(const Block& block, uint32_t begin, uint32_t end);

[[noreturn]] void fault(const std::string& what);

// Of an operand that is the same for all lanes of the mask.
uint32_t uniform(const Warp& w, uint32_t place, uint32_t mask);

// Runs all blocks, and adds what they write. Throws Fault.
void run(const Launch& launch, uint64_t seed, Written& written);

// Calls f(lane) for those of the mask.
template <class F>
inline void each_lane(uint32_t mask, F f) {
  for (; mask; mask &= mask - 1) f(static_cast<uint32_t>(__builtin_ctz(mask)));
}

}  // namespace npr::gpu
