// The matrix instruction of sm_90a with its left operand in registers: see gemm_wgmma.cuh.
#pragma once
#include <cstdint>

#include "compute/cuda/gemm_wgmma.cuh"

namespace npr::compute {

#define NPR_REGS8(i)                                                                                    \
  "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3]), "+f"(d[(i) + 4]), "+f"(d[(i) + 5]), \
      "+f"(d[(i) + 6]), "+f"(d[(i) + 7])
#define NPR_REGS32(i) NPR_REGS8(i), NPR_REGS8((i) + 8), NPR_REGS8((i) + 16), NPR_REGS8((i) + 24)
#define NPR_TEN(t) \
  "%" #t "0, %" #t "1, %" #t "2, %" #t "3, %" #t "4, %" #t "5, %" #t "6, %" #t "7, %" #t "8, %" #t "9, "

// d [64, N] = a . b where `accumulate` is 0, else d += a . b. a: fragments of mma.m16n8k16, of warp w rows 16 w ..
// 16 w + 15; b [16, N]: MN-major.
__device__ inline void wgmma_weighted(float (&d)[32], const uint32_t (&a)[4], uint64_t b, uint32_t accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" NPR_TEN() NPR_TEN(1) NPR_TEN(2) "%30, %31}, "
      "{%32, %33, %34, %35}, %36, p, 1, 1, 1;\n}"
      : NPR_REGS32(0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}
__device__ inline void wgmma_weighted(float (&d)[64], const uint32_t (&a)[4], uint64_t b, uint32_t accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" NPR_TEN() NPR_TEN(1) NPR_TEN(2) NPR_TEN(3) NPR_TEN(4)
          NPR_TEN(5) "%60, %61, %62, %63}, {%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}"
      : NPR_REGS32(0), NPR_REGS32(32)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

#undef NPR_REGS8
#undef NPR_REGS32
#undef NPR_TEN

}  // namespace npr::compute
