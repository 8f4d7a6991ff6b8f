// The matrix instruction of sm_90a: D [64, N] fp32 (+)= A [64, 16] . B [16, N], bf16 operands in shared memory.
//
// A tile of an operand is 64 reduction elements by some rows, in the 128-byte swizzle that tensor copies write:
//   K-major:  [row][64 k], a line of 128 bytes a row; 8 lines are one swizzle atom.
//   MN-major: strips of 64 rows, each [64 k][64 rows], a line of 128 bytes a k.
// D's fragment: thread t of the warpgroup holds rows 16 (t / 32) + t % 32 / 4 (+ 8 h) and columns 8 j + 2 (t % 4) + e
// as d[4 j + 2 h + e].
#pragma once
#include <cstdint>

namespace npr::compute {

constexpr uint32_t wgmma_m = 64;            // rows of A a warpgroup takes
constexpr uint32_t k_block = 64;            // reduction elements of a tile: 128 bytes
constexpr uint32_t panel_bytes = 64 * 128;  // a tile of 64 rows, in either layout
constexpr uint32_t atom_bytes = 8 * 128;

// Start address, leading and stride offsets in units of 16 bytes. The leading offset leads from strip to strip where
// the rows are contiguous, and is unused in the other layout; the stride offset leads to the next 8 lines.
template <bool MnMajor>
__device__ inline uint64_t wgmma_descriptor(uint32_t address) {
  constexpr uint64_t leading = MnMajor ? panel_bytes / 16 : 1, stride = atom_bytes / 16, swizzle_128 = 1;
  return (address & 0x3FFFF) >> 4 | leading << 16 | stride << 32 | swizzle_128 << 62;
}
// From one k16 to the next: 32 bytes along the line, or 16 lines on.
template <bool MnMajor>
constexpr uint32_t wgmma_k_step = (MnMajor ? 16 * 128 : 32) / 16;

// Before the first instruction, and wherever registers of D were touched since.
__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until at most `Pending` committed groups run.
template <int Pending>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}
// Keeps the compiler from reading D above the wait that makes it valid.
template <int Count>
__device__ inline void wgmma_settle(float (&d)[Count]) {
#pragma unroll
  for (int i = 0; i < Count; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

#define NPR_REGS4(i) "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3])
#define NPR_REGS8(i) NPR_REGS4(i), NPR_REGS4((i) + 4)
#define NPR_REGS16(i) NPR_REGS8(i), NPR_REGS8((i) + 8)
#define NPR_REGS32(i) NPR_REGS16(i), NPR_REGS16((i) + 16)
#define NPR_REGS64(i) NPR_REGS32(i), NPR_REGS32((i) + 32)
#define NPR_REGS128(i) NPR_REGS64(i), NPR_REGS64((i) + 64)
#define NPR_TEN(t) \
  "%" #t "0, %" #t "1, %" #t "2, %" #t "3, %" #t "4, %" #t "5, %" #t "6, %" #t "7, %" #t "8, %" #t "9, "
// shape, the list of D, and the numbers of the operands after it: A, B, scale, transpositions.
#define NPR_WGMMA(shape, list, a_at, b_at, scale_at, ta_at, tb_at, ...)                                    \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" scale_at                                               \
               ", 0;\n"                                                                                    \
               "wgmma.mma_async.sync.aligned.m64n" shape "k16.f32.bf16.bf16 {" list "}, %" a_at ", %" b_at \
               ", p, 1, 1, "                                                                               \
               "%" ta_at ", %" tb_at ";\n}"                                                                \
               : __VA_ARGS__                                                                               \
               : "l"(a), "l"(b), "r"(accumulate), "n"(int{MnA}), "n"(int{MnB}))

// D = A . B where `accumulate` is 0, else D += A . B.
template <int N, bool MnA, bool MnB>
__device__ inline void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, uint32_t accumulate) {
  if constexpr (N == 8) {
    NPR_WGMMA("8", "%0, %1, %2, %3", "4", "5", "6", "7", "8", NPR_REGS4(0));
  } else if constexpr (N == 16) {
    NPR_WGMMA("16", "%0, %1, %2, %3, %4, %5, %6, %7", "8", "9", "10", "11", "12", NPR_REGS8(0));
  } else if constexpr (N == 32) {
    NPR_WGMMA("32", NPR_TEN() "%10, %11, %12, %13, %14, %15", "16", "17", "18", "19", "20", NPR_REGS16(0));
  } else if constexpr (N == 64) {
    NPR_WGMMA("64", NPR_TEN() NPR_TEN(1) NPR_TEN(2) "%30, %31", "32", "33", "34", "35", "36", NPR_REGS32(0));
  } else if constexpr (N == 128) {
    NPR_WGMMA("128", NPR_TEN() NPR_TEN(1) NPR_TEN(2) NPR_TEN(3) NPR_TEN(4) NPR_TEN(5) "%60, %61, %62, %63", "64", "65",
              "66", "67", "68", NPR_REGS64(0));
  } else if constexpr (N == 160) {
    NPR_WGMMA("160",
              NPR_TEN() NPR_TEN(1) NPR_TEN(2) NPR_TEN(3) NPR_TEN(4) NPR_TEN(5)
                  NPR_TEN(6) "%70, %71, %72, %73, %74, %75, %76, %77, %78, %79",
              "80", "81", "82", "83", "84", NPR_REGS64(0), NPR_REGS16(64));
  } else if constexpr (N == 192) {
    NPR_WGMMA("192",
              NPR_TEN() NPR_TEN(1) NPR_TEN(2) NPR_TEN(3) NPR_TEN(4) NPR_TEN(5) NPR_TEN(6) NPR_TEN(7)
                  NPR_TEN(8) "%90, %91, %92, %93, %94, %95",
              "96", "97", "98", "99", "100", NPR_REGS64(0), NPR_REGS32(64));
  } else if constexpr (N == 224) {
    NPR_WGMMA("224",
              NPR_TEN() NPR_TEN(1) NPR_TEN(2) NPR_TEN(3) NPR_TEN(4) NPR_TEN(5) NPR_TEN(6) NPR_TEN(7) NPR_TEN(8)
                  NPR_TEN(9) NPR_TEN(10) "%110, %111",
              "112", "113", "114", "115", "116", NPR_REGS64(0), NPR_REGS32(64), NPR_REGS16(96));
  } else {
    static_assert(N == 256);
    NPR_WGMMA("256",
              NPR_TEN() NPR_TEN(1) NPR_TEN(2) NPR_TEN(3) NPR_TEN(4) NPR_TEN(5) NPR_TEN(6) NPR_TEN(7) NPR_TEN(8)
                  NPR_TEN(9) NPR_TEN(10) NPR_TEN(11) "%120, %121, %122, %123, %124, %125, %126, %127",
              "128", "129", "130", "131", "132", NPR_REGS128(0));
  }
}

#undef NPR_REGS4
#undef NPR_REGS8
#undef NPR_REGS16
#undef NPR_REGS32
#undef NPR_REGS64
#undef NPR_REGS128
#undef NPR_TEN
#undef NPR_WGMMA

}  // namespace npr::compute
