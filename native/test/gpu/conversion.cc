// Conversions between types, and between registers and their parts.
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

#include "gpu/decoder.h"
#include "gpu/float16.h"

namespace npr::gpu {
namespace {

enum class Rounding { none, nearest, zero, down, up };

template <class To, class From>
To converted(From x, Rounding rounding) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    if (std::isnan(x)) return 0;
    double r = x;
    if (rounding == Rounding::nearest) r = std::nearbyint(r);
    if (rounding == Rounding::zero) r = std::trunc(r);
    if (rounding == Rounding::down) r = std::floor(r);
    if (rounding == Rounding::up) r = std::ceil(r);
    if (r >= std::ldexp(1.0, std::numeric_limits<To>::digits)) return std::numeric_limits<To>::max();
    if (r <= static_cast<double>(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
    return static_cast<To>(r);
  } else {
    return static_cast<To>(x);
  }
}

// Source registers may be wider than what is read of them: the low bits count.
template <class To, class From, class Register>
void convert(Warp& w, const Instruction& i, uint32_t mask) {
  auto* d = w.reg<Register>(i.o[0]);
  const auto rounding = static_cast<Rounding>(i.immediate & 15);
  const bool saturate = i.immediate & 16;
  const uint8_t* s = w.file + i.o[1];
  const uint32_t step = i.o[2];
  each_lane(mask, [&](uint32_t l) {
    From x;
    std::memcpy(&x, s + l * step, sizeof x);
    To y = converted<To, From>(x, rounding);
    if constexpr (std::is_floating_point_v<To>) {
      if (saturate) y = y > 0 ? std::min(y, To{1}) : To{0};  // NaN: 0
    }
    if constexpr (std::is_floating_point_v<To>) {
      std::memcpy(d + l, &y, sizeof y);
    } else {
      d[l] = static_cast<Register>(
          static_cast<std::conditional_t<std::is_signed_v<To>, std::make_signed_t<Register>, Register>>(y));
    }
  });
}

void widen(Warp& w, const Instruction& i, uint32_t mask) {
  auto* d = w.reg<uint64_t>(i.o[0]);
  const auto* s = w.reg<uint32_t>(i.o[1]);
  if (mask == all_lanes) {
#pragma GCC ivdep
    for (uint32_t l = 0; l < lanes; ++l) d[l] = s[l];
  } else {
    each_lane(mask, [&](uint32_t l) { d[l] = s[l]; });
  }
}

void round_pair(Warp& w, const Instruction& i, uint32_t mask) {
  auto* d = w.reg<uint32_t>(i.o[0]);
  const float *high = w.reg<float>(i.o[1]), *low = w.reg<float>(i.o[2]);
  each_lane(mask, [&](uint32_t l) { d[l] = uint32_t{to_bf16(high[l])} << 16 | to_bf16(low[l]); });
}
void round_one(Warp& w, const Instruction& i, uint32_t mask) {
  auto* d = w.reg<uint16_t>(i.o[0]);
  const float* s = w.reg<float>(i.o[1]);
  each_lane(mask, [&](uint32_t l) { d[l] = to_bf16(s[l]); });
}
void from_bfloat(Warp& w, const Instruction& i, uint32_t mask) {
  auto* d = w.reg<float>(i.o[0]);
  const auto* s = w.reg<uint16_t>(i.o[1]);
  each_lane(mask, [&](uint32_t l) { d[l] = from_bf16(s[l]); });
}
void from_half(Warp& w, const Instruction& i, uint32_t mask) {
  auto* d = w.reg<float>(i.o[0]);
  const auto* s = w.reg<uint16_t>(i.o[1]);
  each_lane(mask, [&](uint32_t l) { d[l] = from_f16(s[l]); });
}

template <class To, class From>
Handler converter(uint32_t register_bits) {
  if constexpr (std::is_floating_point_v<To>) {
    using Same = std::conditional_t<sizeof(To) == 4, uint32_t, uint64_t>;
    return register_bits == 8 * sizeof(To) ? &convert<To, From, Same> : nullptr;
  } else {
    if (register_bits == 16) return &convert<To, From, uint16_t>;
    if (register_bits == 32) return &convert<To, From, uint32_t>;
    return &convert<To, From, uint64_t>;
  }
}
template <class Given>
Handler of_any(std::string_view type, Given given) {
  if (type == "f32") return given(float{});
  if (type == "f64") return given(double{});
  if (type == "u8") return given(uint8_t{});
  if (type == "s8") return given(int8_t{});
  if (type == "u16") return given(uint16_t{});
  if (type == "s16") return given(int16_t{});
  if (type == "u32") return given(uint32_t{});
  if (type == "s32") return given(int32_t{});
  if (type == "u64") return given(uint64_t{});
  if (type == "s64") return given(int64_t{});
  return nullptr;
}

// {parts} from a register and back. The operand's list: whole, parts.
template <class Whole, class Part, bool Pack>
void repack(Warp& w, const Instruction& i, uint32_t mask) {
  constexpr uint32_t count = sizeof(Whole) / sizeof(Part);
  auto* whole = w.reg<Whole>(i.o[0]);
  each_lane(mask, [&](uint32_t l) {
    if constexpr (Pack) {
      Whole x = 0;
      for (uint32_t k = 0; k < count; ++k) x |= Whole{w.reg<Part>(i.o[1 + k])[l]} << (8 * sizeof(Part) * k);
      whole[l] = x;
    } else {
      const Whole x = whole[l];
      for (uint32_t k = 0; k < count; ++k) w.reg<Part>(i.o[1 + k])[l] = static_cast<Part>(x >> (8 * sizeof(Part) * k));
    }
  });
}

template <bool Pack>
Handler repacker(uint32_t whole, size_t parts) {
  if (whole == 32 && parts == 2) return &repack<uint32_t, uint16_t, Pack>;
  if (whole == 64 && parts == 2) return &repack<uint64_t, uint32_t, Pack>;
  if (whole == 64 && parts == 4) return &repack<uint64_t, uint16_t, Pack>;
  return nullptr;
}

}  // namespace

Handler decode_conversion(Decoder& d, const Statement& s, const Opcode& o, Instruction& i) {
  const auto& operands = s.operands;
  if (o.base() == "mov" && operands.size() == 2) {
    const bool pack = operands[1][0] == '{';
    if (!pack && operands[0][0] != '{') return nullptr;
    const uint32_t whole = bits_of_type(o.last());
    const std::vector<std::string> parts = list_of(operands[pack]);
    const uint32_t part = whole / static_cast<uint32_t>(parts.size());
    d.value(operands[!pack], whole);
    for (const std::string& name : parts) d.value(name, part);
    return pack ? repacker<true>(whole, parts.size()) : repacker<false>(whole, parts.size());
  }
  if (o.base() == "cvta") {  // windows are parts of the generic one but for the shared, which is at 0
    const uint32_t bits = bits_of_type(o.last());
    d.reg(operands[0]).value(operands[1], bits);
    i.immediate = 0;
    d.push(8);
    return &convert<uint64_t, uint64_t, uint64_t>;
  }
  if (o.base() != "cvt" || o.size() < 3) return nullptr;
  const std::string_view to = o.part(o.size() - 2), from = o.last();
  if (to == "bf16x2" && from == "f32" && o.has("rn") && o.size() == 4) {
    d.reg(operands[0]).value(operands[1], 32).value(operands[2], 32);
    return &round_pair;
  }
  if (to == "bf16" && from == "f32" && o.has("rn") && o.size() == 4) {
    d.reg(operands[0]).value(operands[1], 32);
    return &round_one;
  }
  if (to == "f32" && (from == "f16" || from == "bf16") && o.size() == 3) {
    d.reg(operands[0]).value(operands[1], 16);
    return from == "f16" ? &from_half : &from_bfloat;
  }
  if (to == "u64" && from == "u32" && o.size() == 3 && d.bits_of(operands[1]) == 32) {
    d.reg(operands[0]).reg(operands[1]);
    return &widen;
  }
  // Of the parts between the two only those that round to an integer, or to the nearest float, or saturate a float.
  for (size_t k = 1; k + 2 < o.size(); ++k) {
    const std::string_view part = o.part(k);
    const bool to_integer = to[0] != 'f' && from[0] == 'f' && part.size() == 3 && part.ends_with('i');
    const bool nearest = part == "rn" && to[0] == 'f' && to != from,
               saturates = part == "sat" && to == from && to == "f32";
    if (!to_integer && !nearest && !saturates) return nullptr;
  }
  if (o.has("rni")) i.immediate = static_cast<int64_t>(Rounding::nearest);
  if (o.has("rzi")) i.immediate = static_cast<int64_t>(Rounding::zero);
  if (o.has("rmi")) i.immediate = static_cast<int64_t>(Rounding::down);
  if (o.has("rpi")) i.immediate = static_cast<int64_t>(Rounding::up);
  if (o.has("sat")) i.immediate |= 16;
  const uint32_t held = d.bits_of(operands[1]) ? d.bits_of(operands[1]) : bits_of_type(from);
  const Handler run = of_any(to, [&](auto t) {
    return of_any(from, [&](auto f) { return converter<decltype(t), decltype(f)>(d.bits_of(operands[0])); });
  });
  if (run) d.reg(operands[0]).value(operands[1], held).push(std::max(held / 8, 2u));
  return run;
}

}  // namespace npr::gpu
