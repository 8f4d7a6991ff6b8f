// Control flow and barriers: of warps, blocks and clusters, and mbarriers.
#include <set>

#include "gpu/decoder.h"
#include "gpu/mbarrier.h"

namespace npr::gpu {

MBarrier& mbarrier_at(const Warp& w, uint32_t address) {
  auto& b = *reinterpret_cast<MBarrier*>(w.shared(address, 8, Warp::Use::unseen));
  if (b.mark != MBarrier::initialized) fault("an mbarrier that was never initialized");
  return b;
}

uint64_t mbarrier_object(const Warp& w, uint32_t address) {
  return object_of(w.block_of(address).rank, address & ((1u << rank_shift) - 1));
}

namespace {

void jump(Warp& w, const Instruction& i, uint32_t mask) { w.jump(mask, static_cast<uint32_t>(i.immediate)); }
void leave(Warp& w, const Instruction&, uint32_t mask) { w.leave(mask); }
void nothing(Warp&, const Instruction&, uint32_t) {}
void wait_for_launches(Warp& w, const Instruction&, uint32_t) { w.block->waited = true; }
void trap(Warp&, const Instruction&, uint32_t) { fault("a trap"); }

// --- barriers of a block ---
NamedBarrier& barrier_at(const Warp& w, uint32_t id) {
  if (id >= w.block->barriers.size()) fault("a barrier that no block has");
  return w.block->barriers[id];
}
void arrive(Warp& w, uint32_t id, uint32_t threads) {
  if (threads % lanes) fault("a barrier of a part of a warp");
  NamedBarrier& b = barrier_at(w, id);
  const uint32_t needed = threads / lanes;
  if (b.warps && b.needed != needed) fault("warps that expect different numbers of threads at a barrier");
  b.needed = needed;
  ++b.warps;
  w.barrier = static_cast<uint8_t>(id);
  w.state = State::at_barrier;
  if (b.warps == (needed ? needed : w.block->warps_left)) w.block->cluster->release(*w.block, id);
}
// Operands: the barrier, the threads, 0 for all of the block.
void barrier(Warp& w, const Instruction& i, uint32_t mask) {
  if (!w.together(all_lanes, mask)) return;
  arrive(w, uniform(w, i.o[0], mask), uniform(w, i.o[1], mask));
}
// And two predicates.
void barrier_or(Warp& w, const Instruction& i, uint32_t mask) {
  if (!w.together(all_lanes, mask)) return;
  NamedBarrier& b = barrier_at(w, uniform(w, i.o[0], mask));
  const uint32_t given = w.predicate(i.o[3]) & mask;
  b.any = (b.warps && b.any) || given;
  arrive(w, uniform(w, i.o[0], mask), uniform(w, i.o[1], mask));
}
void warp_barrier(Warp& w, const Instruction& i, uint32_t mask) { w.together(uniform(w, i.o[0], mask), mask); }

void cluster_arrive(Warp& w, const Instruction& i, uint32_t mask) {
  if (!w.together(all_lanes, mask)) return;
  if (w.arrived) fault("a warp arrives at the cluster's barrier twice");
  Cluster& c = *w.block->cluster;
  w.arrived = true;
  w.arrived_at = c.phase;
  if (i.immediate) w.release(0);  // not where it is relaxed
  ++c.arrived;
  c.settle();
}
void cluster_wait(Warp& w, const Instruction&, uint32_t mask) {
  if (!w.together(all_lanes, mask)) return;
  if (!w.arrived) fault("a warp waits at the cluster's barrier where it has not arrived");
  w.arrived = false;
  if (w.block->cluster->phase == w.arrived_at) {
    w.state = State::at_cluster_barrier;
  } else {
    w.acquire(0);
  }
}

// --- mbarriers; operands: address, and what the instruction has beside ---
uint32_t lane_address(const Warp& w, const Instruction& i, uint32_t lane) {
  return w.reg<uint32_t>(i.o[0])[lane] + static_cast<uint32_t>(i.immediate);
}
void mbarrier_init(Warp& w, const Instruction& i, uint32_t mask) {
  each_lane(mask, [&](uint32_t l) {
    reinterpret_cast<MBarrier*>(w.shared(lane_address(w, i, l), 8, Warp::Use::unseen))
        ->init(w.reg<uint32_t>(i.o[1])[l]);
  });
}
void mbarrier_arrive(Warp& w, const Instruction& i, uint32_t mask) {
  each_lane(mask, [&](uint32_t l) {
    MBarrier& b = mbarrier_at(w, lane_address(w, i, l));
    if (b.pending == 0) fault("an arrival at an mbarrier that expects no more");
    b.arrive();
    w.release(mbarrier_object(w, lane_address(w, i, l)));
  });
}
void mbarrier_expect(Warp& w, const Instruction& i, uint32_t mask) {
  each_lane(mask, [&](uint32_t l) {
    MBarrier& b = mbarrier_at(w, lane_address(w, i, l));
    if (b.pending == 0) fault("an arrival at an mbarrier that expects no more");
    b.bytes += static_cast<int32_t>(w.reg<uint32_t>(i.o[1])[l]);
    b.arrive();
    w.release(mbarrier_object(w, lane_address(w, i, l)));
  });
}
void mbarrier_try(Warp& w, const Instruction& i, uint32_t mask) {
  uint32_t& d = w.predicate(i.o[2]);
  each_lane(mask, [&](uint32_t l) {
    const bool over = mbarrier_at(w, lane_address(w, i, l)).over(w.reg<uint32_t>(i.o[1])[l]);
    d = (d & ~(1u << l)) | uint32_t{over} << l;
    if (over) w.acquire(mbarrier_object(w, lane_address(w, i, l)));
    if (!over) w.stalled = true;
  });
}
void map_to_rank(Warp& w, const Instruction& i, uint32_t mask) {
  each_lane(mask, [&](uint32_t l) {
    const uint32_t rank = w.reg<uint32_t>(i.o[2])[l];
    w.reg<uint32_t>(i.o[0])[l] = (w.reg<uint32_t>(i.o[1])[l] & ((1u << rank_shift) - 1)) | (rank + 1) << rank_shift;
  });
}

Handler decode_mbarrier(Decoder& d, const Statement& s, const Opcode& o, Instruction& i) {
  const auto& operands = s.operands;
  if (o.part(1) == "init") {
    d.address(operands[0], false, i).value(operands[1], 32);
    return &mbarrier_init;
  }
  if (o.part(1) == "arrive" && operands[0] == "_") {
    d.address(operands[1], false, i);
    if (o.has("expect_tx")) {
      d.value(operands[2], 32);
      return &mbarrier_expect;
    }
    return operands.size() == 2 ? &mbarrier_arrive : nullptr;
  }
  if ((o.part(1) == "try_wait" || o.part(1) == "test_wait") && o.has("parity")) {
    d.address(operands[1], false, i).value(operands[2], 32).reg(operands[0]);
    return &mbarrier_try;
  }
  return nullptr;
}

}  // namespace

void Cluster::release(Block& block, uint32_t barrier) {
  NamedBarrier& b = block.barriers[barrier];
  std::vector<uint32_t> met;
  for (Warp& w : warps) {
    if (w.block != &block || w.state != State::at_barrier || w.barrier != barrier) continue;
    w.state = State::running;
    const Instruction& i = w.kernel->code[w.pc - 1];
    if (i.run == &barrier_or) w.predicate(i.o[2]) = b.any ? all_lanes : 0;
    met.push_back(w.in_cluster);
  }
  if (races) races->meet(met);
  b = {};
}

void Cluster::settle() {
  if (arrived == 0 || arrived < warps_left) return;
  arrived = 0;
  ++phase;
  for (Warp& w : warps) {
    if (w.state != State::at_cluster_barrier) continue;
    w.state = State::running;
    w.acquire(0);
  }
}

Handler decode_synchronization(Decoder& d, const Statement& s, const Opcode& o, Instruction& i) {
  // What orders memory, or asks for registers, or fetches ahead: here all is in order, and there are enough.
  static const std::set<std::string_view> without_effect = {"fence", "membar", "setmaxnreg", "prefetch", "nanosleep"};
  const std::string_view base = o.base();
  const auto& operands = s.operands;
  if (base == "bra") {
    i.immediate = d.label(operands[0]);
    return &jump;
  }
  if (base == "ret" || base == "exit") return &leave;
  if (base == "trap") return &trap;
  if (s.opcode == "griddepcontrol.wait") return &wait_for_launches;
  if (s.opcode == "griddepcontrol.launch_dependents") return &nothing;
  if (without_effect.contains(base)) return &nothing;
  if (base == "mbarrier") return decode_mbarrier(d, s, o, i);
  if (base == "mapa") {
    d.reg(operands[0]).value(operands[1], 32).value(operands[2], 32);
    return &map_to_rank;
  }
  if (s.opcode.starts_with("barrier.cluster.arrive")) {
    i.immediate = !o.has("relaxed");
    return &cluster_arrive;
  }
  if (s.opcode.starts_with("barrier.cluster.wait")) return &cluster_wait;
  if (s.opcode == "bar.warp.sync") {
    d.value(operands[0], 32);
    return &warp_barrier;
  }
  if (s.opcode == "bar.sync" || s.opcode == "barrier.sync") {
    d.value(operands[0], 32).value(operands.size() > 1 ? operands[1] : "0", 32);
    return &barrier;
  }
  if (s.opcode == "bar.red.or.pred" || s.opcode == "barrier.red.or.pred") {
    const bool counted = operands.size() == 4;
    d.value(operands[1], 32).value(counted ? operands[2] : "0", 32).reg(operands[0]).value(operands.back(), 1);
    return &barrier_or;
  }
  return nullptr;
}

}  // namespace npr::gpu
