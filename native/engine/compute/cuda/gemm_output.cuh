// Where the sums of a product go.
#pragma once
#include <cstddef>
#include <cstdint>

namespace npr::compute {

// out [tokens, n] fp32, row-major without padding; `add`: out += the sum, one rounding. Other epilogues have the same
// two functions.
struct RowMajorOut {
  float* data;
  uint32_t tokens, n;
  bool add;
  bool in_fours;  // n is a multiple of 4 and data is aligned to 16 bytes

  // Columns row .. row + 3 of a token.
  __device__ void four(uint32_t token, uint32_t row, float4 sum) const {
    if (token >= tokens || row >= n) return;
    float* at = data + size_t{token} * n + row;
    if (in_fours) {
      if (add) {
        const float4 old = *reinterpret_cast<float4*>(at);
        sum = {__fadd_rn(old.x, sum.x), __fadd_rn(old.y, sum.y), __fadd_rn(old.z, sum.z), __fadd_rn(old.w, sum.w)};
      }
      *reinterpret_cast<float4*>(at) = sum;
      return;
    }
    const float each[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
    for (uint32_t i = 0; i < 4; ++i) {
      if (row + i < n) at[i] = add ? __fadd_rn(at[i], each[i]) : each[i];
    }
  }

  // A thread's fragment, sum[4 j + 2 h + e] = token + 8 j + e, row + 8 h. Eight threads of a warp write 32 bytes of a
  // token side by side: whole sectors.
  template <int Count>
  __device__ void fragment(uint32_t token, uint32_t row, const float (&sum)[Count]) const {
    constexpr int batch = 16;  // old values that are on their way at a time
    static_assert(Count % batch == 0);
    float* at = data + size_t{token} * n + row;
    const bool low = row < n, high = row + 8 < n;
#pragma unroll
    for (int first = 0; first < Count; first += batch) {
      float old[batch];
      if (add) {
#pragma unroll
        for (int i = 0; i < batch; ++i) {
          const uint32_t down = (first + i) / 4 * 8 + i % 2, right = i / 2 % 2 * 8;
          old[i] = token + down < tokens && (right ? high : low) ? at[size_t{down} * n + right] : 0.0f;
        }
      }
#pragma unroll
      for (int i = 0; i < batch; ++i) {
        const uint32_t down = (first + i) / 4 * 8 + i % 2, right = i / 2 % 2 * 8;
        if (token + down < tokens && (right ? high : low)) {
          at[size_t{down} * n + right] = add ? __fadd_rn(old[i], sum[first + i]) : sum[first + i];
        }
      }
    }
  }
};

}  // namespace npr::compute
