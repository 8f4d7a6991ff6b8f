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

  // A thread's fragment is sum[4 j + 2 h + e] = token + 8 j + e, row + 8 h; batches of it are four j by two by two.
  // Eight threads of a warp read or write 32 bytes of a token side by side: whole sectors.
  static constexpr int batch = 16;
  __device__ static uint32_t down(int i) { return static_cast<uint32_t>(i / 4 * 8 + i % 2); }
  __device__ static uint32_t right(int i) { return static_cast<uint32_t>(i / 2 % 2 * 8); }
  __device__ bool inside(uint32_t token, uint32_t row, int i) const {
    return token + down(i) < tokens && row + right(i) < n;
  }
  __device__ float* at(uint32_t token, uint32_t row, int i) const {
    return data + (size_t{token} * n + row) + (down(i) * n + right(i));
  }

  // What there is to add to, from element `first` of the fragment on.
  __device__ void load_old(uint32_t token, uint32_t row, int first, float (&old)[batch]) const {
#pragma unroll
    for (int i = 0; i < batch; ++i) old[i] = inside(token, row, first + i) ? *at(token, row, first + i) : 0.0f;
  }
  template <int Count>
  __device__ void fragment(uint32_t token, uint32_t row, const float (&sum)[Count]) const {
    static_assert(Count % batch == 0);
#pragma unroll
    for (int first = 0; first < Count; first += batch) {
      float old[batch];
      if (add) load_old(token, row, first, old);
#pragma unroll
      for (int i = 0; i < batch; ++i) {
        if (inside(token, row, first + i)) {
          *at(token, row, first + i) = add ? __fadd_rn(old[i], sum[first + i]) : sum[first + i];
        }
      }
    }
  }
};

}  // namespace npr::compute
