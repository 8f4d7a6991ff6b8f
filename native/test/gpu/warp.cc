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

bool Warp::together(uint32_t wanted) {
  wanted &= live;
  if ((active & wanted) == wanted) {
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
  return block->cluster->blocks[rank - 1];
}

void Warp::release(uint64_t object) const {
  if (RaceCheck* races = block->cluster->races.get()) races->release(in_cluster, object);
}
void Warp::acquire(uint64_t object) const {
  if (RaceCheck* races = block->cluster->races.get()) races->acquire(in_cluster, object);
}
Clock Warp::now() const {
  const RaceCheck* races = block->cluster->races.get();
  return races ? races->clock(in_cluster) : Clock{};
}

uint8_t* Warp::shared(uint32_t address, uint32_t bytes, Use use) const {
  Block& b = block_of(address);
  const uint32_t at = (address & ((1u << rank_shift) - 1)) - shared_begin;
  if (uint64_t{at} + bytes > b.shared.size() || address % bytes) {
    fault("shared memory: " + std::to_string(bytes) + " bytes at " + std::to_string(static_cast<int32_t>(at)) + " of " +
          std::to_string(b.shared.size()));
  }
  if (RaceCheck* races = block->cluster->races.get()) {
    if (use == Use::read) races->read(in_cluster, races->clock(in_cluster), b.rank, at, bytes);
    if (use == Use::write) races->write(in_cluster, races->clock(in_cluster), b.rank, at, bytes);
  }
  return b.shared.data() + at;
}

}  // namespace npr::gpu
