#include "gpu/warp.h"

#include <algorithm>
#include <cstdio>

namespace npr::gpu {

void fault(const std::string& what) { throw Fault(what); }

void Warp::set_limit() {
  limit = nowhere;
  for (const Group& g : others) {
    if (!g.waits || g.pc >= pc) limit = std::min(limit, g.pc);
  }
}

void Warp::jump(uint32_t mask, uint32_t target) {
  if (const uint32_t rest = active & ~mask) {
    others.push_back({pc, rest, false});
    active = mask;
  }
  pc = target;
  if (!others.empty()) set_limit();
}

void Warp::leave(uint32_t mask) {
  live &= ~mask;
  active &= ~mask;
  if (active) return;
  if (others.empty()) {
    state = State::done;
  } else {
    regroup();
  }
}

bool Warp::together(uint32_t wanted, uint32_t mask) {
  if (mask & ~wanted) fault("a lane executes what it says it takes no part in");
  wanted &= live;
  if ((active & wanted) == wanted) {
    if (mask != wanted) fault("lanes pass by an instruction that all have to execute");
    futile = 0;
    return true;
  }
  others.push_back({pc - 1, active, true});
  active = 0;
  regroup();
  return false;
}

void Warp::regroup() {
  if (active) others.push_back({pc, active, false});
  active = 0;
  if (std::ranges::all_of(others, &Group::waits)) {
    // They waited for lanes that have left since, or wait for each other.
    uint32_t all = 0;
    for (Group& g : others) g.waits = false, all |= g.mask;
    if (all == live && ++futile > 2 * lanes) fault("lanes of a warp wait for each other at different instructions");
  }
  pc = nowhere;
  for (const Group& g : others) {
    if (!g.waits) pc = std::min(pc, g.pc);
  }
  std::erase_if(others, [&](const Group& g) {
    if (g.pc == pc) active |= g.mask;
    return g.pc == pc;
  });
  set_limit();
}

uint8_t* Warp::global_at(uint64_t address, uint64_t bytes, Use use) {
  const Allocation* a = view.find(address, bytes);
  if (!a) {
    char text[20];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(address));
    fault("global memory: " + std::to_string(bytes) + " bytes at " + text + " are in no allocation");
  }
  note_use(address, use);
  return reinterpret_cast<uint8_t*>(address);
}

void Warp::note_use(uint64_t address, Use use) {
  if (launch->overlaps && !block->waited) {
    if (use == Use::write) fault("global memory is written before the launches before are waited for");
    if (launch->before->has(address)) fault("global memory is read that a launch before may still write");
  }
  if (use == Use::write) written->add(address);
}

Block& Warp::block_of(uint32_t address) const {
  const uint32_t rank = address >> rank_shift;
  if (rank == 0) return *block;
  if (rank > block->cluster->blocks.size()) fault("an address of a block that the cluster doesn't have");
  Block& other = block->cluster->blocks[rank - 1];
  if (other.warps_left == 0) fault("an address of a block that has ended");
  return other;
}

void check_unread(const Block& block, uint32_t begin, uint32_t end) {
  for (const Warp& w : block.cluster->warps) {
    if (w.block == &block && w.matrix_reads.touch(begin, end)) {
      fault("shared memory is overwritten that a matrix instruction under way may read");
    }
  }
}

void Warp::release(uint64_t object) const {
  if (RaceCheck* races = block->cluster->races.get()) races->release(in_cluster, object);
}
void Warp::acquire(uint64_t object) const {
  if (RaceCheck* races = block->cluster->races.get()) races->acquire(in_cluster, object);
}
Clock Warp::now() const {
  RaceCheck* races = block->cluster->races.get();
  return races ? races->started(in_cluster) : Clock{};
}

uint8_t* Warp::shared(uint32_t address, uint32_t bytes, Use use) const {
  Block& b = block_of(address);
  const uint32_t at = (address & ((1u << rank_shift) - 1)) - shared_begin;
  if (uint64_t{at} + bytes > b.shared.size() || address % bytes) {
    fault("shared memory: " + std::to_string(bytes) + " bytes at " + std::to_string(static_cast<int32_t>(at)) + " of " +
          std::to_string(b.shared.size()));
  }
  if (use == Use::write && block->cluster->matrix_reads) check_unread(b, shared_begin + at, shared_begin + at + bytes);
  if (RaceCheck* races = block->cluster->races.get()) {
    if (use == Use::read) races->read(in_cluster, races->clock(in_cluster), b.rank, at, bytes);
    if (use == Use::write) races->write(in_cluster, races->clock(in_cluster), b.rank, at, bytes);
  }
  return b.shared.data() + at;
}

uint32_t uniform(const Warp& w, uint32_t place, uint32_t mask) {
  const auto* x = w.reg<uint32_t>(place);
  const uint32_t first = x[__builtin_ctz(mask)];
  each_lane(mask, [&](uint32_t l) {
    if (x[l] != first) fault("an operand that differs from lane to lane where it may not");
  });
  return first;
}

}  // namespace npr::gpu
