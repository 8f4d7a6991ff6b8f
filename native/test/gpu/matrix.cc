// Matrix instructions: ldmatrix, mma.sync and wgmma, as the PTX ISA lays their fragments out.
//
// Sums are taken along k one by one in fp32. A GPU's own order is not told; like its, this one is the same for every
// shape.
#include <immintrin.h>

#include <algorithm>
#include <bit>

#include "gpu/decoder.h"
#include "gpu/float16.h"

namespace npr::gpu {
namespace {

// Four 8 x 8 matrices: lane l gives the address of row l % 8 of matrix l / 8. Operands: four registers, the address.
template <bool Transposed>
void load_matrices(Warp& w, const Instruction& i, uint32_t mask) {
  if (mask != all_lanes) fault("ldmatrix by a part of a warp");
  const auto* base = w.reg<uint32_t>(i.o[4]);
  uint16_t rows[lanes][8];
  for (uint32_t l = 0; l < lanes; ++l) {
    std::memcpy(rows[l], w.shared(base[l] + static_cast<uint32_t>(i.immediate), 16, Warp::Use::read), 16);
  }
  for (uint32_t m = 0; m < 4; ++m) {
    auto* d = w.reg<uint32_t>(i.o[m]);
    for (uint32_t l = 0; l < lanes; ++l) {
      const uint32_t g = l / 4, t = l % 4;
      d[l] = Transposed ? rows[8 * m + 2 * t][g] | uint32_t{rows[8 * m + 2 * t + 1][g]} << 16
                        : rows[8 * m + g][2 * t] | uint32_t{rows[8 * m + g][2 * t + 1]} << 16;
    }
  }
}

float low_of(uint32_t pair) { return std::bit_cast<float>(pair << 16); }
float high_of(uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000); }

// The fragment of A [16, 16] that four registers hold.
void read_a(const Warp& w, const uint32_t* registers, float (&a)[16][16]) {
  for (uint32_t r = 0; r < 4; ++r) {
    const auto* x = w.reg<uint32_t>(registers[r]);
    for (uint32_t l = 0; l < lanes; ++l) {
      float* to = &a[l / 4 + 8 * (r & 1)][2 * (l % 4) + 8 * (r >> 1)];
      to[0] = low_of(x[l]), to[1] = high_of(x[l]);
    }
  }
}

// C [16, 8 tiles] from and to its fragments, four registers for 8 columns: of two registers, for a row, four lanes have
// the even and four the odd columns.
void read_c(const Warp& w, const uint32_t* registers, uint32_t tiles, float* c, uint32_t stride) {
  for (uint32_t half = 0; half < 2 * tiles; ++half) {
    const float *even = w.reg<float>(registers[2 * half]), *odd = w.reg<float>(registers[2 * half + 1]);
    float* to = c + 8 * (half & 1) * stride + 8 * (half / 2);
    for (uint32_t g = 0; g < 8; ++g) {
      const __m128 x = _mm_loadu_ps(even + 4 * g), y = _mm_loadu_ps(odd + 4 * g);
      _mm_storeu_ps(to + g * stride, _mm_unpacklo_ps(x, y));
      _mm_storeu_ps(to + g * stride + 4, _mm_unpackhi_ps(x, y));
    }
  }
}
void write_c(const Warp& w, const uint32_t* registers, uint32_t tiles, const float* c, uint32_t stride) {
  for (uint32_t half = 0; half < 2 * tiles; ++half) {
    float *even = w.reg<float>(registers[2 * half]), *odd = w.reg<float>(registers[2 * half + 1]);
    const float* from = c + 8 * (half & 1) * stride + 8 * (half / 2);
    for (uint32_t g = 0; g < 8; ++g) {
      const __m128 x = _mm_loadu_ps(from + g * stride), y = _mm_loadu_ps(from + g * stride + 4);
      _mm_storeu_ps(even + 4 * g, _mm_shuffle_ps(x, y, 0x88));
      _mm_storeu_ps(odd + 4 * g, _mm_shuffle_ps(x, y, 0xdd));
    }
  }
}

// c [16, 8] += a [16, 16] . b [16, 8], four rows at once.
void multiply_add(float* c, const float (&a)[16][16], const float* b, uint32_t stride) {
  constexpr uint32_t rows = 4;
  for (uint32_t row = 0; row < 16; row += rows) {
    __m256 sums[rows];
#pragma GCC unroll 4
    for (uint32_t r = 0; r < rows; ++r) sums[r] = _mm256_loadu_ps(c + (row + r) * stride);
    for (uint32_t k = 0; k < 16; ++k) {
      const __m256 right = _mm256_loadu_ps(b + k * stride);
#pragma GCC unroll 4
      for (uint32_t r = 0; r < rows; ++r) {
        sums[r] = _mm256_fmadd_ps(_mm256_broadcast_ss(&a[row + r][k]), right, sums[r]);
      }
    }
#pragma GCC unroll 4
    for (uint32_t r = 0; r < rows; ++r) _mm256_storeu_ps(c + (row + r) * stride, sums[r]);
  }
}

// Operands: D, A, B, C; 4, 4, 2 and 4 registers.
void mma_m16n8k16(Warp& w, const Instruction& i, uint32_t mask) {
  if (mask != all_lanes) fault("mma by a part of a warp");
  float a[16][16], b[16][8], c[16][8];
  read_a(w, i.o + 4, a);
  for (uint32_t r = 0; r < 2; ++r) {
    const auto* x = w.reg<uint32_t>(i.o[8 + r]);
    for (uint32_t l = 0; l < lanes; ++l) {
      b[2 * (l % 4) + 8 * r][l / 4] = low_of(x[l]);
      b[2 * (l % 4) + 8 * r + 1][l / 4] = high_of(x[l]);
    }
  }
  read_c(w, i.o + 10, 1, &c[0][0], 8);
  multiply_add(&c[0][0], a, &b[0][0], 8);
  write_c(w, i.o, 1, &c[0][0], 8);
}

// --- wgmma ---
constexpr uint32_t most_columns = 256;

// A matrix descriptor with the 128-byte swizzle.
struct Operand {
  uint32_t start, leading, stride;
  explicit Operand(uint64_t descriptor)
      : start(static_cast<uint32_t>(descriptor & 0x3FFF) << 4),
        leading(static_cast<uint32_t>(descriptor >> 16 & 0x3FFF) << 4),
        stride(static_cast<uint32_t>(descriptor >> 32 & 0x3FFF) << 4) {
    if (descriptor >> 62 != 1) fault("a matrix descriptor without the 128-byte swizzle");
  }
  // Of the element [row, k]: k lies along the lines, or the rows do.
  uint32_t k_major(uint32_t row, uint32_t k) const { return start + row / 8 * stride + row % 8 * 128 + k * 2; }
  uint32_t mn_major(uint32_t row, uint32_t k) const {
    return start + row / 64 * leading + k / 8 * stride + k % 8 * 128 + row % 64 * 2;
  }
};

// Eight neighbours.
void read_unit(const Warp& w, uint32_t address, float (&out)[8]) {
  uint16_t x[8];
  std::memcpy(x, w.shared(swizzled_128(address), sizeof x, Warp::Use::read), sizeof x);
  for (int e = 0; e < 8; ++e) out[e] = from_bf16(x[e]);
}

// f(row, k, element) for `rows` rows from `first`, a multiple of 8, and 16 of k.
template <class F>
void each_element(const Warp& w, const Operand& operand, uint32_t first, uint32_t rows, bool mn_major, F f) {
  float x[8];
  for (uint32_t outer = 0; outer < (mn_major ? 16 : rows); ++outer) {
    for (uint32_t inner = 0; inner < (mn_major ? rows : 16); inner += 8) {
      const uint32_t row = mn_major ? inner : outer, k = mn_major ? outer : inner;
      read_unit(w, mn_major ? operand.mn_major(first + row, k) : operand.k_major(first + row, k), x);
      for (uint32_t e = 0; e < 8; ++e) f(row + (mn_major ? e : 0), k + (mn_major ? 0 : e), x[e]);
    }
  }
}

// What a wgmma reads until it is waited for: lines of 128 bytes.
void reads(Warp& w, const Operand& operand, uint32_t first, uint32_t rows, bool mn_major) {
  if (mn_major) {
    for (uint32_t strip = first / 64; strip < (first + rows + 63) / 64; ++strip) {
      const uint32_t begin = operand.start + strip * operand.leading;
      w.matrix_reads.add(begin, begin + 2 * operand.stride);
      ++w.block->cluster->matrix_reads;
    }
  } else {
    const uint32_t begin = (operand.start & ~127u) + first / 8 * operand.stride;
    w.matrix_reads.add(begin, begin + rows / 8 * operand.stride);
    ++w.block->cluster->matrix_reads;
  }
}

// D [64, N] (+)= A [64, 16] . B [16, N]: a warp's 16 rows of it. Operands: N / 2 registers of D, those of A (1 or 4),
// B, and the predicate that adds. immediate: N; bits 16 and 17: A and B are MN-major; bit 18: A is in registers.
void wgmma(Warp& w, const Instruction& i, uint32_t mask) {
  if (mask != all_lanes) fault("wgmma by a part of a warp");
  const auto n = static_cast<uint32_t>(i.immediate & 0xffff);
  const bool mn_a = i.immediate >> 16 & 1, mn_b = i.immediate >> 17 & 1, held = i.immediate >> 18 & 1;
  const uint32_t* o = i.o + n / 2;
  const uint32_t first = 16 * (w.index % 4);
  static thread_local float a[16][16], b[16][most_columns], c[16][most_columns];
  if (held) {
    read_a(w, o, a);
    o += 4;
  } else {
    const Operand left(*w.reg<uint64_t>(*o++));
    each_element(w, left, first, 16, mn_a, [](uint32_t row, uint32_t k, float x) { a[row][k] = x; });
    reads(w, left, first, 16, mn_a);
  }
  const Operand right(*w.reg<uint64_t>(*o++));
  each_element(w, right, 0, n, mn_b, [](uint32_t column, uint32_t k, float x) { b[k][column] = x; });
  reads(w, right, 0, n, mn_b);
  if (w.predicate(*o) & 1) {
    read_c(w, i.o, n / 8, &c[0][0], most_columns);
  } else {
    std::fill_n(&c[0][0], 16 * most_columns, 0.0f);
  }
  for (uint32_t column = 0; column < n; column += 8) multiply_add(&c[0][column], a, &b[0][column], most_columns);
  write_c(w, i.o, n / 8, &c[0][0], most_columns);
}
void wgmma_commit(Warp& w, const Instruction&, uint32_t) { w.matrix_reads.commit(); }
void wgmma_wait(Warp& w, const Instruction& i, uint32_t) {
  uint32_t& under_way = w.block->cluster->matrix_reads;
  under_way -= w.matrix_reads.count();
  w.matrix_reads.wait(static_cast<size_t>(i.immediate));
  under_way += w.matrix_reads.count();
}
void wgmma_fence(Warp&, const Instruction&, uint32_t) {}

Handler decode_wgmma(Decoder& d, const Statement& s, const Opcode& o, Instruction& i) {
  const auto& operands = s.operands;
  const std::string_view shape = o.part(4);  // m64n128k16
  const size_t at = shape.find('n') + 1;
  const auto n = static_cast<uint32_t>(std::stoul(std::string(shape.substr(at))));
  const std::vector<std::string> out = list_of(operands[0]), left = list_of(operands[1]);
  const bool held = left.size() == 4;
  if (!shape.starts_with("m64n") || !shape.ends_with("k16") || out.size() != n / 2 || n > most_columns || n % 8)
    return nullptr;
  if (o.part(5) != "f32" || o.part(6) != "bf16" || o.part(7) != "bf16") return nullptr;
  if (operands[4] != "1" || operands[5] != "1") return nullptr;
  for (const std::string& r : out) d.reg(r);
  for (const std::string& r : left) d.value(r, held ? 32 : 64);
  d.value(operands[2], 64).value(operands[3], 1);
  const bool mn_a = !held && operands[6] == "1", mn_b = operands[held ? 6 : 7] == "1";
  i.immediate = n | int64_t{mn_a} << 16 | int64_t{mn_b} << 17 | int64_t{held} << 18;
  return &wgmma;
}

}  // namespace

Handler decode_matrix(Decoder& d, const Statement& s, const Opcode& o, Instruction& i) {
  const auto& operands = s.operands;
  if (s.opcode.starts_with("ldmatrix.sync.aligned.m8n8.x4.") && s.opcode.ends_with("shared.b16")) {
    for (const std::string& r : list_of(operands[0])) d.reg(r);
    d.address(operands[1], false, i);
    return o.has("trans") ? &load_matrices<true> : &load_matrices<false>;
  }
  if (s.opcode == "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32") {
    for (const std::string& list : operands) {
      for (const std::string& r : list_of(list)) d.value(r, 32);
    }
    return &mma_m16n8k16;
  }
  if (s.opcode.starts_with("wgmma.mma_async.sync.aligned.")) return decode_wgmma(d, s, o, i);
  if (s.opcode == "wgmma.fence.sync.aligned") return &wgmma_fence;
  if (s.opcode == "wgmma.commit_group.sync.aligned") return &wgmma_commit;
  if (s.opcode == "wgmma.wait_group.sync.aligned") {
    i.immediate = std::stoll(operands[0]);
    return &wgmma_wait;
  }
  return nullptr;
}

}  // namespace npr::gpu
