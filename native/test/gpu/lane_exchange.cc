// What lanes of a warp tell each other.
#include <algorithm>

#include "gpu/decoder.h"

namespace npr::gpu {
namespace {

enum class Shuffle { index, up, butterfly };
template <Shuffle S>
void shuffle(Warp& w, const Instruction& i, uint32_t mask) {
  if (!w.together(uniform(w, i.o[5], mask), mask)) return;
  uint32_t* d = w.reg<uint32_t>(i.o[0]);
  uint32_t from[lanes], held = 0;
  std::copy_n(w.reg<uint32_t>(i.o[2]), lanes, from);
  const auto *by = w.reg<uint32_t>(i.o[3]), *bounds = w.reg<uint32_t>(i.o[4]);
  each_lane(mask, [&](uint32_t l) {
    const uint32_t segment = bounds[l] >> 8 & 31, clamp = bounds[l] & 31;
    const uint32_t last = (l & segment) | (clamp & ~segment), b = by[l] & 31;
    int j = static_cast<int>(l);
    bool inside = true;
    if (S == Shuffle::index) j = static_cast<int>((l & segment) | (b & ~segment)), inside = j <= static_cast<int>(last);
    if (S == Shuffle::up) j -= static_cast<int>(b), inside = j >= static_cast<int>(last);
    if (S == Shuffle::butterfly) j ^= static_cast<int>(b), inside = j <= static_cast<int>(last);
    if (!inside) j = static_cast<int>(l);
    if (inside && !(mask >> j & 1)) fault("a shuffle from a lane that takes no part in it");
    d[l] = from[j];
    held |= uint32_t{inside} << l;
  });
  if (i.o[1] != nowhere) {
    uint32_t& p = w.predicate(i.o[1]);
    p = (p & ~mask) | held;
  }
}
void vote_all(Warp& w, const Instruction& i, uint32_t mask) {
  if (!w.together(uniform(w, i.o[2], mask), mask)) return;
  const bool out = (w.predicate(i.o[1]) & mask) == mask;
  uint32_t& d = w.predicate(i.o[0]);
  d = (d & ~mask) | (out ? mask : 0);
}
void reduce_min(Warp& w, const Instruction& i, uint32_t mask) {
  if (!w.together(uniform(w, i.o[2], mask), mask)) return;
  const auto* x = w.reg<uint32_t>(i.o[1]);
  uint32_t out = x[__builtin_ctz(mask)];
  each_lane(mask, [&](uint32_t l) { out = std::min(out, x[l]); });
  each_lane(mask, [&](uint32_t l) { w.reg<uint32_t>(i.o[0])[l] = out; });
}

// d|p, a, b, bounds, mask
Handler decode_shuffle(Decoder& d, const Statement& s, const Opcode& o) {
  const std::string& to = s.operands[0];
  const size_t bar = to.find('|');
  d.reg(to.substr(0, bar));
  bar == std::string::npos ? d.push(nowhere) : d.reg(to.substr(bar + 1));
  for (int k = 1; k <= 4; ++k) d.value(s.operands[k], 32);
  if (o.has("idx")) return &shuffle<Shuffle::index>;
  if (o.has("up")) return &shuffle<Shuffle::up>;
  return o.has("bfly") ? &shuffle<Shuffle::butterfly> : nullptr;
}

}  // namespace

Handler decode_lane_exchange(Decoder& d, const Statement& s, const Opcode& o, Instruction&) {
  const auto& operands = s.operands;
  if (s.opcode.starts_with("shfl.sync.")) return decode_shuffle(d, s, o);
  if (s.opcode == "vote.sync.all.pred") {
    d.reg(operands[0]).value(operands[1], 1).value(operands[2], 32);
    return &vote_all;
  }
  if (s.opcode == "redux.sync.min.u32") {
    d.reg(operands[0]).value(operands[1], 32).value(operands[2], 32);
    return &reduce_min;
  }
  return nullptr;
}

}  // namespace npr::gpu
