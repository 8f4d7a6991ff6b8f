// Arithmetic, logic, comparison and selection, lane by lane.
#include <cmath>
#include <type_traits>

#include "gpu/decoder.h"
#include "gpu/lane_operations.h"

namespace npr::gpu {
namespace {

// d = F(a, b, c), lane by lane. Registers are whole or the same, never partly, so the lanes are independent.
template <class F, class D, class... S, size_t... At>
void map_with(Warp& w, const Instruction& i, uint32_t mask, std::index_sequence<At...>) {
  D* d = w.reg<D>(i.o[0]);
  [&](const S*... s) {
    if (mask == all_lanes) {
#pragma GCC ivdep
      for (uint32_t l = 0; l < lanes; ++l) d[l] = F::of(s[l]...);
    } else {
      each_lane(mask, [&](uint32_t l) { d[l] = F::of(s[l]...); });
    }
  }(w.reg<S>(i.o[At + 1])...);
}
template <class F, class D, class... S>
void map(Warp& w, const Instruction& i, uint32_t mask) {
  map_with<F, D, S...>(w, i, mask, std::index_sequence_for<S...>{});
}

// --- predicates ---
template <class F>
void map_predicates(Warp& w, const Instruction& i, uint32_t mask) {
  uint32_t& d = w.predicate(i.o[0]);
  d = (d & ~mask) | (F::of(w.predicate(i.o[1]), w.predicate(i.o[2])) & mask);
}
template <class F>
void map_predicate(Warp& w, const Instruction& i, uint32_t mask) {
  uint32_t& d = w.predicate(i.o[0]);
  d = (d & ~mask) | (F::of(w.predicate(i.o[1])) & mask);
}

// Where either is NaN, all are false but `ne`'s like in C; those that end in u are true.
enum class Relation { eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu };
template <class T, Relation R>
bool holds(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    const bool unordered = std::isnan(a) || std::isnan(b);
    if (R >= Relation::equ && unordered) return true;
    if (unordered) return false;
  }
  switch (R) {
    case Relation::eq:
    case Relation::equ:
      return a == b;
    case Relation::ne:
    case Relation::neu:
      return a != b;
    case Relation::lt:
    case Relation::ltu:
      return a < b;
    case Relation::le:
    case Relation::leu:
      return a <= b;
    case Relation::gt:
    case Relation::gtu:
      return a > b;
    default:
      return a >= b;
  }
}
template <class T, Relation R>
void compare(Warp& w, const Instruction& i, uint32_t mask) {
  const T *a = w.reg<T>(i.o[1]), *b = w.reg<T>(i.o[2]);
  uint32_t bits = 0;
  for (uint32_t l = 0; l < lanes; ++l) bits |= uint32_t{holds<T, R>(a[l], b[l])} << l;
  uint32_t& d = w.predicate(i.o[0]);
  d = (d & ~mask) | (bits & mask);
}

template <class T>
void select(Warp& w, const Instruction& i, uint32_t mask) {
  T* d = w.reg<T>(i.o[0]);
  const T *a = w.reg<T>(i.o[1]), *b = w.reg<T>(i.o[2]);
  const uint32_t choice = w.predicate(i.o[3]);
  each_lane(mask, [&](uint32_t l) { d[l] = choice >> l & 1 ? a[l] : b[l]; });
}

// --- decoding ---
template <template <class> class F, class T>
Handler unary = &map<F<T>, T, T>;
template <template <class> class F, class T>
Handler binary = &map<F<T>, T, T, T>;
template <template <class> class F, class T>
Handler ternary = &map<F<T>, T, T, T, T>;

template <class Given>
Handler of_type(std::string_view type, Given given) {
  if (type == "f32") return given(float{});
  if (type == "f64") return given(double{});
  if (type == "u32" || type == "b32") return given(uint32_t{});
  if (type == "s32") return given(int32_t{});
  if (type == "u64" || type == "b64") return given(uint64_t{});
  if (type == "s64") return given(int64_t{});
  if (type == "u16" || type == "b16") return given(uint16_t{});
  if (type == "s16") return given(int16_t{});
  return nullptr;
}
template <class Given>
Handler of_integer(std::string_view type, Given given) {
  return of_type(type, [&](auto t) -> Handler {
    if constexpr (std::is_integral_v<decltype(t)>) return given(t);
    return nullptr;
  });
}
template <class Given>
Handler of_float(std::string_view type, Given given) {
  return of_type(type, [&](auto t) -> Handler {
    if constexpr (std::is_floating_point_v<decltype(t)>) return given(t);
    return nullptr;
  });
}

template <Relation R>
Handler comparison(std::string_view type) {
  return of_type(type, [](auto t) -> Handler { return &compare<decltype(t), R>; });
}
Handler comparison(std::string_view relation, std::string_view type) {
  if (relation == "eq") return comparison<Relation::eq>(type);
  if (relation == "ne") return comparison<Relation::ne>(type);
  if (relation == "lt" || relation == "lo") return comparison<Relation::lt>(type);
  if (relation == "le" || relation == "ls") return comparison<Relation::le>(type);
  if (relation == "gt" || relation == "hi") return comparison<Relation::gt>(type);
  if (relation == "ge" || relation == "hs") return comparison<Relation::ge>(type);
  if (relation == "equ") return comparison<Relation::equ>(type);
  if (relation == "neu") return comparison<Relation::neu>(type);
  if (relation == "ltu") return comparison<Relation::ltu>(type);
  if (relation == "leu") return comparison<Relation::leu>(type);
  if (relation == "gtu") return comparison<Relation::gtu>(type);
  if (relation == "geu") return comparison<Relation::geu>(type);
  return nullptr;
}

// Whether no part between the opcode and its type asks for what the handlers don't do.
bool known(const Opcode& o) {
  const std::string_view base = o.base(), type = o.last();
  for (size_t i = 1; i + 1 < o.size(); ++i) {
    const std::string_view part = o.part(i);
    const bool rounds = part == "rn" && type[0] == 'f', halves = part == "lo" || part == "hi" || part == "wide";
    if ((base == "add" || base == "sub" || base == "div" || base == "sqrt" || base == "rcp") && rounds) continue;
    if (base == "mul" && (rounds || halves)) continue;
    if (base == "mad" && halves) continue;
    if (base == "fma" && (rounds || (part == "rm" && type == "f32"))) continue;
    if (base == "ex2" && o.has("approx") && o.has("ftz")) continue;
    if (base == "setp" && i == 1) continue;
    return false;
  }
  return true;
}

Handler predicate_handler(std::string_view base) {
  if (base == "and") return &map_predicates<And<uint32_t>>;
  if (base == "or") return &map_predicates<Or<uint32_t>>;
  if (base == "xor") return &map_predicates<Xor<uint32_t>>;
  if (base == "not") return &map_predicate<Not<uint32_t>>;
  if (base == "mov") return &map_predicate<Copy<uint32_t>>;
  return nullptr;
}

// All operands of one type.
Handler uniform_handler(std::string_view base, std::string_view type, const Opcode& o) {
#define NPR_OF(kind, arity, F) of_##kind(type, [](auto t) -> Handler { return arity<F, decltype(t)>; })
  if (base == "mov") return NPR_OF(type, unary, Copy);
  if (base == "add") return NPR_OF(type, binary, Add);
  if (base == "sub") return NPR_OF(type, binary, Subtract);
  if (base == "mul" && (o.has("lo") || type[0] == 'f')) return NPR_OF(type, binary, Multiply);
  if (base == "mad" && o.has("lo")) return NPR_OF(integer, ternary, MultiplyAdd);
  if (base == "fma" && o.has("rm")) return type == "f32" ? &map<FmaDown, float, float, float, float> : nullptr;
  if (base == "fma" && o.has("rn")) return NPR_OF(float, ternary, Fma);
  if (base == "div") return NPR_OF(type, binary, Divide);
  if (base == "rem") return NPR_OF(integer, binary, Remainder);
  if (base == "min") return NPR_OF(type, binary, Min);
  if (base == "max") return NPR_OF(type, binary, Max);
  if (base == "neg") return NPR_OF(type, unary, Negate);
  if (base == "abs") return NPR_OF(type, unary, Absolute);
  if (base == "sqrt" && o.has("rn")) return NPR_OF(float, unary, SquareRoot);
  if (base == "rcp" && o.has("rn")) return NPR_OF(float, unary, Reciprocal);
  if (base == "and") return NPR_OF(integer, binary, And);
  if (base == "or") return NPR_OF(integer, binary, Or);
  if (base == "xor") return NPR_OF(integer, binary, Xor);
  if (base == "not") return NPR_OF(integer, unary, Not);
#undef NPR_OF
  if (base == "ex2" && type == "f32") return &map<PowerOfTwo, float, float>;
  return nullptr;
}

Handler wide_handler(std::string_view base, std::string_view type) {
  if (base == "mul") {
    if (type == "u32") return &map<MultiplyWide<uint32_t, uint64_t>, uint64_t, uint32_t, uint32_t>;
    if (type == "s32") return &map<MultiplyWide<int32_t, int64_t>, int64_t, int32_t, int32_t>;
    if (type == "u16") return &map<MultiplyWide<uint16_t, uint32_t>, uint32_t, uint16_t, uint16_t>;
    if (type == "s16") return &map<MultiplyWide<int16_t, int32_t>, int32_t, int16_t, int16_t>;
  }
  return nullptr;
}

}  // namespace

Handler decode_arithmetic(Decoder& d, const Statement& s, const Opcode& o, Instruction&) {
  const std::string_view base = o.base(), type = o.last();
  const auto& operands = s.operands;
  for (const std::string& operand : operands) {
    if (operand[0] == '{' || operand[0] == '[') return nullptr;
  }
  if (operands.size() < 2 || bits_of_type(type) == 0 || !known(o)) return nullptr;
  const auto all = [&](uint32_t bits) {
    d.reg(operands[0]);
    for (size_t k = 1; k < operands.size(); ++k) d.value(operands[k], bits);
  };
  if (base == "setp" && o.size() == 3) {
    const Handler run = comparison(o.part(1), type);
    if (!run || operands.size() != 3) return nullptr;
    const uint32_t bits = bits_of_type(type);
    d.reg(operands[0]).value(operands[1], bits).value(operands[2], bits);
    return run;
  }
  if (base == "selp") {
    const uint32_t bits = bits_of_type(type);
    d.reg(operands[0]).value(operands[1], bits).value(operands[2], bits).value(operands[3], 1);
    return of_type(type, [](auto t) -> Handler { return &select<decltype(t)>; });
  }
  if (base == "shl" || base == "shr") {
    d.reg(operands[0]).value(operands[1], bits_of_type(type)).value(operands[2], 32);
    return of_integer(type, [&](auto t) -> Handler {
      using T = decltype(t);
      return base == "shl" ? &map<ShiftLeft<T>, T, T, uint32_t> : &map<ShiftRight<T>, T, T, uint32_t>;
    });
  }
  if (o.has("wide")) {
    const Handler run = wide_handler(base, type);
    if (!run) return nullptr;
    const uint32_t bits = bits_of_type(type);
    d.reg(operands[0]).value(operands[1], bits).value(operands[2], bits);
    return run;
  }
  if (base == "clz" && type == "b64") {
    d.reg(operands[0]).value(operands[1], 64);
    return &map<LeadingZeros, uint32_t, uint64_t>;
  }
  Handler run = nullptr;
  uint32_t bits = bits_of_type(type);
  if (bits == 1) {
    run = predicate_handler(base);
  } else if (base == "bfi" && type == "b32") {
    run = &map<InsertBits, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t>;
  } else if (base == "mul" && o.has("hi")) {
    if (type == "u32") run = &map<MultiplyHigh<uint32_t, uint64_t>, uint32_t, uint32_t, uint32_t>;
  } else {
    run = uniform_handler(base, type, o);
  }
  if (run) all(bits);
  return run;
}

}  // namespace npr::gpu
