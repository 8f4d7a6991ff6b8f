// What arithmetic instructions compute of a lane's operands, as the PTX ISA defines them.
#pragma once
#include <bit>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <type_traits>

namespace npr::gpu {

// Integers wrap.
template <class T>
struct Wrapping {
  using type = T;
};
template <class T>
  requires std::is_integral_v<T>
struct Wrapping<T> {
  using type = std::conditional_t<sizeof(T) == 2, uint32_t, std::make_unsigned_t<T>>;
};
template <class T>
using wrapping = typename Wrapping<T>::type;

template <class T>
struct Add {
  static T of(T a, T b) { return static_cast<T>(static_cast<wrapping<T>>(a) + static_cast<wrapping<T>>(b)); }
};
template <class T>
struct Subtract {
  static T of(T a, T b) { return static_cast<T>(static_cast<wrapping<T>>(a) - static_cast<wrapping<T>>(b)); }
};
template <class T>
struct Multiply {
  static T of(T a, T b) { return static_cast<T>(static_cast<wrapping<T>>(a) * static_cast<wrapping<T>>(b)); }
};
template <class T>
struct MultiplyAdd {
  static T of(T a, T b, T c) { return Add<T>::of(Multiply<T>::of(a, b), c); }
};
template <class T, class Wide>
struct MultiplyWide {
  static Wide of(T a, T b) { return static_cast<Wide>(a) * static_cast<Wide>(b); }
};
template <class T, class Wide>
struct MultiplyHigh {
  static T of(T a, T b) { return static_cast<T>((static_cast<Wide>(a) * static_cast<Wide>(b)) >> (8 * sizeof(T))); }
};
template <class T>
struct Divide {
  static T of(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0) return static_cast<T>(-1);
      if (std::is_signed_v<T> && b == static_cast<T>(-1)) return Subtract<T>::of(0, a);
    }
    return a / b;
  }
};
template <class T>
struct Remainder {
  static T of(T a, T b) { return b == 0 || (std::is_signed_v<T> && b == static_cast<T>(-1)) ? (b ? 0 : a) : a % b; }
};
template <class T>
struct Fma {
  static T of(T a, T b, T c) { return std::fma(a, b, c); }
};
// Rounded towards minus infinity.
struct FmaDown {
  static float of(float a, float b, float c) {
    const int before = std::fegetround();
    std::fesetround(FE_DOWNWARD);
    volatile float va = a, vb = b, vc = c;
    volatile float out = std::fma(va, vb, vc);
    std::fesetround(before);
    return out;
  }
};
// Of a number and NaN, the number; -0 is less than +0.
template <class T>
struct Min {
  static T of(T a, T b) {
    if constexpr (std::is_floating_point_v<T>)
      return std::isnan(a) ? b : std::isnan(b) ? a : a < b || (a == b && std::signbit(a)) ? a : b;
    return a < b ? a : b;
  }
};
template <class T>
struct Max {
  static T of(T a, T b) {
    if constexpr (std::is_floating_point_v<T>)
      return std::isnan(a) ? b : std::isnan(b) ? a : a > b || (a == b && std::signbit(b)) ? a : b;
    return a > b ? a : b;
  }
};
template <class T>
struct Negate {
  static T of(T a) {
    if constexpr (std::is_floating_point_v<T>) return -a;
    return Subtract<T>::of(0, a);
  }
};
template <class T>
struct Absolute {
  static T of(T a) {
    if constexpr (std::is_floating_point_v<T>) return std::fabs(a);
    return a < 0 ? Negate<T>::of(a) : a;
  }
};
template <class T>
struct SquareRoot {
  static T of(T a) { return std::sqrt(a); }
};
template <class T>
struct Reciprocal {
  static T of(T a) { return T{1} / a; }
};
struct PowerOfTwo {
  static float of(float a) {
    const float y = std::exp2(a);
    return std::fabs(y) < 1.17549435e-38F ? 0.0F : y;
  }
};
template <class T>
struct And {
  static T of(T a, T b) { return a & b; }
};
template <class T>
struct Or {
  static T of(T a, T b) { return a | b; }
};
template <class T>
struct Xor {
  static T of(T a, T b) { return a ^ b; }
};
template <class T>
struct Not {
  static T of(T a) { return static_cast<T>(~a); }
};
template <class T>
struct ShiftLeft {
  static T of(T a, uint32_t by) { return by >= 8 * sizeof(T) ? 0 : static_cast<T>(a << by); }
};
template <class T>
struct ShiftRight {
  static T of(T a, uint32_t by) {
    if (by >= 8 * sizeof(T)) return std::is_signed_v<T> && a < 0 ? static_cast<T>(-1) : 0;
    return static_cast<T>(a >> by);
  }
};
struct InsertBits {
  static uint32_t of(uint32_t a, uint32_t b, uint32_t at, uint32_t count) {
    at &= 255, count &= 255;
    if (at >= 32 || count == 0) return b;
    const uint32_t field = (count >= 32 ? ~0u : (1u << count) - 1) << at;
    return (b & ~field) | ((a << at) & field);
  }
};
struct LeadingZeros {
  static uint32_t of(uint64_t a) { return static_cast<uint32_t>(std::countl_zero(a)); }
};
template <class T>
struct Copy {
  static T of(T a) { return a; }
};

}  // namespace npr::gpu
