// Loads, stores, copies in the background from global to shared memory, and atomics.
#include <algorithm>

#include "gpu/decoder.h"

namespace npr::gpu {
namespace {

enum class Space { global, shared, local, parameter };

using Use = Warp::Use;

uint8_t* global_at(Warp& w, uint64_t address, uint32_t bytes, Use use) {
  uint8_t* const data = w.global_at(address, bytes, use);
  if (address % bytes) fault("global memory: an address that is not a multiple of " + std::to_string(bytes));
  return data;
}

// Of a lane: `bytes` at its address.
template <Space S, class Address>
uint8_t* at(Warp& w, const Instruction& i, const Address* base, uint32_t lane, uint32_t bytes, Use use) {
  const auto address = static_cast<Address>(base[lane] + static_cast<Address>(i.immediate));
  if constexpr (S == Space::global) return global_at(w, address, bytes, use);
  if constexpr (S == Space::shared) return w.shared(static_cast<uint32_t>(address), bytes, use);
  if constexpr (S == Space::parameter) {
    const uint64_t offset = address - reinterpret_cast<uint64_t>(w.launch->parameters.data());
    if (offset + bytes > w.launch->parameters.size()) fault("beyond the kernel's parameters");
    return const_cast<uint8_t*>(w.launch->parameters.data()) + offset;
  }
  if (address + bytes > w.kernel->local_bytes) fault("local memory: beyond what the kernel has");
  return w.local + lane * w.kernel->local_bytes + address;
}

// Whether the addresses of all lanes are aligned, and the stretch from the first to the last one.
bool aligned(const uint64_t* base, uint64_t displacement, uint32_t bytes, uint64_t& first, uint64_t& last) {
  uint64_t bits = 0;
  first = last = base[0];
  for (uint32_t l = 0; l < lanes; ++l) {
    first = std::min(first, base[l]);
    last = std::max(last, base[l]);
    bits |= base[l] + displacement;
  }
  first += displacement, last += displacement;
  return bits % bytes == 0;
}

// Calls f(lane, bytes at its address). Lanes that all are in one allocation are checked at once.
template <Space S, Use U, class Address, class F>
void each_access(Warp& w, const Instruction& i, uint32_t mask, uint32_t bytes, F f) {
  const auto* base = w.reg<Address>(i.o[0]);
  if constexpr (S == Space::global) {
    const auto displacement = static_cast<uint64_t>(i.immediate);
    uint64_t first, last;
    if (mask == all_lanes && aligned(base, displacement, bytes, first, last) &&
        w.view.find(first, last - first + bytes)) {
      for (uint32_t l = 0; l < lanes; ++l) {
        w.note_use(base[l] + displacement, U);
        f(l, reinterpret_cast<uint8_t*>(base[l] + displacement));
      }
      return;
    }
  }
  each_lane(mask, [&](uint32_t l) { f(l, at<S>(w, i, base, l, bytes, U)); });
}

// Memory's type is M, the registers' R, which may be wider. Operands: address, how many, registers.
template <Space S, class Address, class M, class R>
void load(Warp& w, const Instruction& i, uint32_t mask) {
  const uint32_t count = i.o[1];
  each_access<S, Use::read, Address>(w, i, mask, sizeof(M) * count, [&](uint32_t l, const uint8_t* from) {
    for (uint32_t k = 0; k < count; ++k) {
      M x;
      std::memcpy(&x, from + k * sizeof x, sizeof x);
      w.reg<R>(i.o[2 + k])[l] = static_cast<R>(x);
    }
  });
}
template <Space S, class Address, class M, class R>
void store(Warp& w, const Instruction& i, uint32_t mask) {
  const uint32_t count = i.o[1];
  each_access<S, Use::write, Address>(w, i, mask, sizeof(M) * count, [&](uint32_t l, uint8_t* to) {
    for (uint32_t k = 0; k < count; ++k) {
      const auto x = static_cast<M>(w.reg<R>(i.o[2 + k])[l]);
      std::memcpy(to + k * sizeof x, &x, sizeof x);
    }
  });
}
template <class M, class R>
void load_parameter(Warp& w, const Instruction& i, uint32_t mask) {
  for (uint32_t k = 0; k < i.o[0]; ++k) {
    M x;
    std::memcpy(&x, w.launch->parameters.data() + i.immediate + k * sizeof x, sizeof x);
    R* d = w.reg<R>(i.o[1 + k]);
    each_lane(mask, [&](uint32_t l) { d[l] = static_cast<R>(x); });
  }
}

template <class Given>
Handler of_register(uint32_t bits, Given given) {
  if (bits == 16) return given(uint16_t{});
  if (bits == 32) return given(uint32_t{});
  if (bits == 64) return given(uint64_t{});
  return nullptr;
}
template <class Given>
Handler of_memory(std::string_view type, Given given) {
  const uint32_t bits = bits_of_type(type);
  if (type[0] == 's') {
    if (bits == 8) return given(int8_t{});
    if (bits == 16) return given(int16_t{});
    if (bits == 32) return given(int32_t{});
  }
  if (bits == 8) return given(uint8_t{});
  if (bits == 16) return given(uint16_t{});
  if (bits == 32) return given(uint32_t{});
  if (bits == 64) return given(uint64_t{});
  return nullptr;
}

template <Space S, class Address, bool Load>
Handler access(std::string_view type, uint32_t bits) {
  return of_memory(type, [&](auto m) {
    return of_register(bits, [](auto r) -> Handler {
      using M = decltype(m);
      using R = decltype(r);
      if constexpr (sizeof(M) > sizeof(R)) return nullptr;
      if constexpr (Load) return &load<S, Address, M, R>;
      return &store<S, Address, M, R>;
    });
  });
}
template <bool Load>
Handler access(const Opcode& o, std::string_view type, uint32_t bits) {
  if (o.part(1) == "global") return access<Space::global, uint64_t, Load>(type, bits);
  if (o.part(1) == "local") return access<Space::local, uint64_t, Load>(type, bits);
  if (o.part(1).starts_with("shared")) return access<Space::shared, uint32_t, Load>(type, bits);
  return nullptr;
}

// Operands: to, from, and how many of the 16 bytes are read.
void copy_16(Warp& w, const Instruction& i, uint32_t mask) {
  struct Line {
    uint8_t* to;
    const uint8_t* from;
    uint32_t bytes;
  };
  std::vector<Line> lines;
  const auto* to = w.reg<uint32_t>(i.o[0]);
  const auto* from = w.reg<uint64_t>(i.o[1]);
  const auto* count = w.reg<uint32_t>(i.o[2]);
  each_lane(mask, [&](uint32_t l) {
    uint8_t* target = w.shared(to[l] + static_cast<uint32_t>(i.immediate), 16, Use::write);
    std::memset(target, 0xC3, 16);  // until they are there
    lines.push_back({target, count[l] ? global_at(w, from[l], 16, Use::read) : nullptr, count[l]});
  });
  w.copies.add(w.coin(), [lines = std::move(lines)] {
    for (const Line& line : lines) {
      std::memset(line.to, 0, 16);
      if (line.bytes) std::memcpy(line.to, line.from, line.bytes);
    }
  });
}
void commit_copies(Warp& w, const Instruction&, uint32_t) { w.copies.commit(); }
void wait_copies(Warp& w, const Instruction& i, uint32_t) { w.copies.wait(static_cast<size_t>(i.immediate)); }

template <class T>
void atomic_min_shared(Warp& w, const Instruction& i, uint32_t mask) {
  const auto* base = w.reg<uint32_t>(i.o[0]);
  each_lane(mask, [&](uint32_t l) {
    auto* x = reinterpret_cast<T*>(at<Space::shared>(w, i, base, l, sizeof(T), Use::unseen));
    const T before = *x, value = w.reg<T>(i.o[2])[l];
    *x = std::min(before, value);
    w.reg<T>(i.o[1])[l] = before;
  });
}

// [parameter+8]: its bytes begin at the displacement.
Handler decode_parameter(Decoder& d, const Statement& s, const Opcode& o, Instruction& i) {
  const std::vector<std::string> registers = list_of(s.operands[0]);
  const std::string inner = s.operands[1].substr(1, s.operands[1].size() - 2);
  const size_t plus = inner.find('+');
  const Parameter* p = d.parameter(inner.substr(0, plus));
  if (!p) {  // an address in a register, or a value that a call gave
    if (d.bits_of(inner.substr(0, plus)) == 0) return nullptr;
    const uint32_t bits = d.bits_of(registers[0]);
    d.address(s.operands[1], true, i).push(static_cast<uint32_t>(registers.size()));
    for (const std::string& r : registers) d.reg(r);
    return access<Space::parameter, uint64_t, true>(o.last(), bits);
  }
  i.immediate = p->offset + (plus == std::string::npos ? 0 : std::stoll(inner.substr(plus + 1)));
  d.push(static_cast<uint32_t>(registers.size()));
  for (const std::string& r : registers) d.reg(r);
  return of_memory(o.last(), [&](auto m) {
    return of_register(d.bits_of(registers[0]),
                       [](auto r) -> Handler { return &load_parameter<decltype(m), decltype(r)>; });
  });
}

}  // namespace

Handler decode_access(Decoder& d, const Statement& s, const Opcode& o, Instruction& i) {
  const std::string_view base = o.base();
  if (base == "ld" && o.has("param")) return decode_parameter(d, s, o, i);
  if ((base == "ld" || base == "st") && bits_of_type(o.last())) {
    const bool loads = base == "ld", wide = !o.part(1).starts_with("shared");
    const std::vector<std::string> registers = list_of(s.operands[loads ? 0 : 1]);
    const uint32_t declared = d.bits_of(registers[0]),
                   bits = declared ? declared : std::max(bits_of_type(o.last()), 16u);
    const Handler run = loads ? access<true>(o, o.last(), bits) : access<false>(o, o.last(), bits);
    if (!run) return nullptr;
    d.address(s.operands[loads ? 1 : 0], wide, i).push(static_cast<uint32_t>(registers.size()));
    for (const std::string& r : registers) loads ? d.reg(r) : d.value(r, bits);
    return run;
  }
  if (s.opcode == "cp.async.cg.shared.global") {
    d.address(s.operands[0], false, i).plain_address(s.operands[1], true);
    s.operands.size() > 3 ? d.value(s.operands[3], 32) : d.push(d.constant(16, 32));
    return s.operands[2] == "16" ? &copy_16 : nullptr;
  }
  if (s.opcode == "cp.async.commit_group") return &commit_copies;
  if (s.opcode == "cp.async.wait_group") {
    i.immediate = std::stoll(s.operands[0]);
    return &wait_copies;
  }
  if (s.opcode == "atom.shared.min.u32") {
    d.address(s.operands[1], false, i).reg(s.operands[0]).value(s.operands[2], 32);
    return &atomic_min_shared<uint32_t>;
  }
  return nullptr;
}

}  // namespace npr::gpu
