#include "common/machine_limits.h"

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <vector>

#include "compute/cpu/pages.h"
#include "compute/cpu/thread_pool.h"
#include "compute/cpu/tiles.h"
#ifdef NPR_WITH_CUDA
#include "common/device_limits.h"
#endif

namespace npr::bench {
namespace {

constexpr int passes = 8;

struct Peak {
  double flops_per_second;
  const char* instruction;
};

template <class Work>
double fastest(compute::ThreadPool& pool, const Work& work) {
  double best = 1e9;
  for (int pass = 0; pass < passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    pool.each(work);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

// Eight streams of a block at a time, as wide loads: one alone leaves memory idle between its pages.
__attribute__((target("avx2"))) uint64_t read_all(const char* data, size_t bytes) {
  constexpr size_t streams = 8;
  const size_t each = bytes / streams;
  __m256i sum = _mm256_setzero_si256();
  for (size_t i = 0; i < each; i += 64) {
    for (size_t s = 0; s < streams; ++s) {
      const char* at = data + s * each + i;
      _mm_prefetch(at + 1024, _MM_HINT_T0);
      sum = _mm256_xor_si256(sum, _mm256_load_si256(reinterpret_cast<const __m256i*>(at)));
      sum = _mm256_xor_si256(sum, _mm256_load_si256(reinterpret_cast<const __m256i*>(at + 32)));
    }
  }
  return static_cast<uint64_t>(_mm256_extract_epi64(sum, 0));
}

constexpr int chains = 16;  // 6 cycles of latency, 2 instructions a cycle: 12 would do
constexpr int rounds = 2'000'000;

__attribute__((target("avx512f,avx512bf16"))) float multiply_bf16() {
  __m512 sums[chains];
  for (int c = 0; c < chains; ++c) sums[c] = _mm512_set1_ps(static_cast<float>(c));  // equal ones would be made one
  __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f803f80), b = a;
  for (int i = 0; i < rounds; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 16
    for (auto& sum : sums) sum = _mm512_dpbf16_ps(sum, a, b);
  }
  __m512 total = _mm512_setzero_ps();
  for (auto& sum : sums) total = _mm512_add_ps(total, sum);
  return _mm512_cvtss_f32(total);
}

// Four sums, as many as a linear layer keeps: 16 rows by 16 columns by 32 products each.
__attribute__((target("amx-tile,amx-bf16"))) void multiply_tiles() {
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } shape;
  asm volatile("" ::: "memory");
  _tile_loadconfig(&shape);
  for (int i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 5, 6);
    _tile_dpbf16ps(2, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}

__attribute__((target("avx2,fma"))) float multiply_fp32() {
  __m256 sums[12];
  for (int c = 0; c < 12; ++c) sums[c] = _mm256_set1_ps(static_cast<float>(c));
  __m256 a = _mm256_set1_ps(1.0f), b = a;
  for (int i = 0; i < rounds; ++i) {
    asm volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm256_fmadd_ps(a, b, sum);
  }
  __m256 total = _mm256_setzero_ps();
  for (auto& sum : sums) total = _mm256_add_ps(total, sum);
  return _mm256_cvtss_f32(total);
}

// Bytes a second that the threads read from memory.
double read_bandwidth(uint32_t threads) {
  constexpr size_t bytes = size_t{512} << 20;
  const compute::Pages memory(bytes, "the bandwidth measurement");
  compute::ThreadPool pool(threads);
  const size_t share = bytes / threads / 4096 * 4096;
  pool.each([&](uint32_t t) { std::fill_n(memory.as<char>() + t * share, share, static_cast<char>(1)); });
  std::atomic<uint64_t> sink{0};
  const double seconds = fastest(pool, [&](uint32_t t) { sink += read_all(memory.as<char>() + t * share, share); });
  return static_cast<double>(share) * threads / seconds;
}

// Of threads that do nothing but multiply bf16 pairs and add them up in registers; where the machine has no AVX-512
// BF16, of fp32 fused multiply-adds.
Peak bf16_peak(uint32_t threads) {
  compute::ThreadPool pool(threads);
  std::atomic<int> sink{0};
  if (compute::may_use_tiles()) {
    compute::ThreadPool allowed(threads);  // started after the permission
    const double seconds = fastest(allowed, [&](uint32_t) { multiply_tiles(); });
    return {4 * 2.0 * 16 * 16 * 32 * rounds * threads / seconds, "tdpbf16ps"};
  }
  if (__builtin_cpu_supports("avx512bf16")) {
    const double seconds = fastest(pool, [&](uint32_t) { sink += static_cast<int>(multiply_bf16()); });
    return {64.0 * chains * rounds * threads / seconds, "vdpbf16ps"};
  }
  const double seconds = fastest(pool, [&](uint32_t) { sink += static_cast<int>(multiply_fp32()); });
  return {16.0 * 12 * rounds * threads / seconds, "vfmadd231ps"};
}

}  // namespace

Limits measure_limits(const compute::DeviceOptions& options) {
#ifdef NPR_WITH_CUDA
  if (options.device == compute::Device::cuda) return measure_device();
#endif
  const Peak peak = bf16_peak(options.cpu.threads);
  return {read_bandwidth(options.cpu.threads), peak.flops_per_second, peak.instruction};
}

}  // namespace npr::bench
