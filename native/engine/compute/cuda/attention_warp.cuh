// The instructions of a warp that attention is made of, as the PTX ISA defines them.
//
// Fragments of mma.m16n8k16 with bf16 operands, for lane l, g = l / 4, t = l % 4; a register of operands holds two
// neighbours along k:
//   A [16, 16]: a0 row g, k 2t; a1 row g + 8, k 2t; a2 row g, k 2t + 8; a3 row g + 8, k 2t + 8
//   B [16, 8]:  b0 column g, k 2t; b1 column g, k 2t + 8
//   C [16, 8]:  c0, c1 row g, columns 2t, 2t + 1; c2, c3 row g + 8
// So two C tiles side by side are, rounded, an A tile.
#pragma once
#include <cuda_bf16.h>

#include <cstdint>

namespace npr::compute {

constexpr uint32_t all_lanes = 0xffffffff;

__device__ inline uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// 16 bytes to shared memory, in the background; zeros, and nothing is read, where not `real`.
__device__ inline void copy_16(uint32_t to, const void* from, bool real) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(real ? 16 : 0) : "memory");
}
__device__ inline void copy_16(uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
// Closes a group of copies; waits until at most `n` of the thread's groups are under way.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int n>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
}

// Four 8 x 8 matrices of bf16: lane l gives the address of row l % 8 of matrix l / 8, and gets of each the elements 2t,
// 2t + 1 of row g; transposed: of column g.
__device__ inline void load_matrices(uint32_t (&out)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}
__device__ inline void load_transposed(uint32_t (&out)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

// c += a . b
__device__ inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 2^x within 2 units in the last place; 0 for -infinity.
__device__ inline float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// x, which the compiler does not know to be.
__device__ inline uint32_t moved(uint32_t x) {
  uint32_t out;
  asm volatile("mov.b32 %0, %1;" : "=r"(out) : "r"(x));
  return out;
}

// Two floats rounded to bf16, the first in the lower half.
__device__ inline uint32_t round_pair(float low, float high) {
  uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}
__device__ inline float low_of(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ inline float high_of(uint32_t pair) { return __uint_as_float(pair & 0xffff0000); }

// Over the four lanes that hold a row of C, in all of them.
__device__ inline float row_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(all_lanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(all_lanes, x, 2));
}
__device__ inline float row_sum(float x) {
  x += __shfl_xor_sync(all_lanes, x, 1);
  return x + __shfl_xor_sync(all_lanes, x, 2);
}

}  // namespace npr::compute
