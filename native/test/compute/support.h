// What the tests of the compute backends share: repeatable random numbers, the backends themselves.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "compute/backend.h"
#include "compute/test_backend.h"
#include "error.h"

namespace support {

using npr::compute::bf16;
using npr::compute::WeightFormat;

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint64_t next() {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(next() % n); }
  float uniform() { return static_cast<float>(next() >> 40) * 0x1p-23f - 1.0f; }  // [-1, 1)

 private:
  uint64_t state_;
};

inline float widen(bf16 x) { return std::bit_cast<float>(uint32_t{x} << 16); }
inline bf16 narrow(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  return static_cast<bf16>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline std::vector<float> random_floats(Random& random, size_t count) {
  std::vector<float> out(count);
  for (float& x : out) x = random.uniform();
  return out;
}
inline std::vector<bf16> random_bf16s(Random& random, size_t count) {
  std::vector<bf16> out(count);
  for (bf16& x : out) x = narrow(random.uniform());
  return out;
}

// Everything that the machine computes with; device arrays may be any memory of the host.
inline std::vector<std::unique_ptr<npr::compute::Backend>> backends(uint32_t threads,
                                                                    WeightFormat weights = WeightFormat::bf16) {
  std::vector<std::unique_ptr<npr::compute::Backend>> out;
  for (const auto isa : machine_isas())
    out.push_back(make_open_backend({.threads = threads, .isa = isa, .weights = weights}));
  return out;
}

// weights [n, k], of floats or bf16s
template <class T>
std::unique_ptr<npr::compute::Matrix> pack(npr::compute::Backend& backend, const std::vector<T>& weights, uint32_t k) {
  using npr::compute::DType;
  constexpr DType dtype = std::is_same_v<T, float> ? DType::f32 : DType::bf16;
  const npr::compute::HostRows rows{weights.data(), dtype, static_cast<uint32_t>(weights.size() / k)};
  return backend.pack({&rows, 1}, k);
}

// x [rows, k] . w^T
inline std::vector<float> product(npr::compute::Backend& backend, const npr::compute::Matrix& w,
                                  const std::vector<bf16>& x) {
  const auto rows = static_cast<uint32_t>(x.size() / w.k());
  std::vector<float> out(size_t{rows} * w.n());
  backend.linear(x.data(), rows, w, out.data());
  return out;
}

// Throws unless |a - b| <= tolerance, naming where.
inline void near(double a, double b, double tolerance, const std::string& where) {
  if (std::abs(a - b) <= tolerance) return;
  throw std::runtime_error(where + ": " + std::to_string(a) + " is not within " + std::to_string(tolerance) + " of " +
                           std::to_string(b));
}

}  // namespace support
