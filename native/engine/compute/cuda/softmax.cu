#include <limits>

#include "compute/cuda/cuda_check.h"
#include "compute/cuda/softmax.h"

namespace npr::compute::softmax {
namespace {

constexpr uint32_t block_threads = 256, warps = block_threads / 32;
constexpr uint32_t lanes = 16;                             // interleaved sums of a chunk
constexpr uint32_t piece = chunk_entries / block_threads;  // neighbouring entries of a thread that looks for a token
constexpr float infinity = std::numeric_limits<float>::infinity();

// A chunk in shared memory; an unused number after every 32 lets threads read pieces without meeting in a bank.
struct Chunk {
  float numbers[chunk_entries + chunk_entries / 32];
  __device__ float& operator[](uint32_t i) { return numbers[i + i / 32]; }
};

// exp(x) for x in [-87, 0], else 0, in the operations of sample/softmax_kernels.cc: 2^n exp(r) with |r| <= ln(2) / 2.
__device__ float exp_nonpositive(float x) {
  constexpr float round = 0x1.8p23f, log2e = 1.44269504f, ln2_high = 355.0f / 512, ln2_low = -2.12194440e-4f;
  const float shifted = __fadd_rn(__fmul_rn(x, log2e), round);
  const float n = __fsub_rn(shifted, round);
  const float r = __fsub_rn(__fsub_rn(x, __fmul_rn(n, ln2_high)), __fmul_rn(n, ln2_low));
  float p = __fadd_rn(__fmul_rn(r, 1.0f / 5040), 1.0f / 720);
  p = __fadd_rn(__fmul_rn(p, r), 1.0f / 120);
  p = __fadd_rn(__fmul_rn(p, r), 1.0f / 24);
  p = __fadd_rn(__fmul_rn(p, r), 1.0f / 6);
  p = __fadd_rn(__fmul_rn(p, r), 0.5f);
  p = __fadd_rn(__fmul_rn(p, r), 1.0f);
  p = __fadd_rn(__fmul_rn(p, r), 1.0f);
  const float power = __uint_as_float((__float_as_uint(shifted) + 127) << 23);
  return x >= -87.0f && x <= 0.0f ? __fmul_rn(p, power) : 0.0f;
}

__device__ float weight(float x, float max, float scale) {
  return exp_nonpositive(__fmul_rn(__fsub_rn(x, max), scale));
}

// As sample::repeated(), or the sum.
__device__ float edited(float x, float value, bool multiplies) {
  if (!multiplies) return __fadd_rn(x, value);
  return x > 0 ? __fdiv_rn(x, value) : __fmul_rn(x, value);
}

// Entries of chunk `index`, edited; minus infinity beyond the vocabulary. All threads of the block call it.
__device__ void load(Chunk& chunk, const float* row, uint32_t index, uint32_t vocab, const PolicyRow& at,
                     const LogitEdit* edits) {
  const uint32_t begin = index * chunk_entries, count = min(chunk_entries, vocab - begin);
#pragma unroll 8
  for (uint32_t i = threadIdx.x; i < chunk_entries; i += block_threads) {
    chunk[i] = i < count ? row[begin + i] : -infinity;
  }
  __syncthreads();
  uint32_t first = at.edits_begin;
  for (uint32_t turn = 0; turn < edit_turns; ++turn) {
    const uint32_t last = at.edits_end[turn];
    if (first == last) continue;
    for (uint32_t e = first + threadIdx.x; e < last; e += block_threads) {
      const uint32_t i = static_cast<uint32_t>(edits[e].token) - begin;
      if (i < count) chunk[i] = edited(chunk[i], edits[e].value, turn < multiplying_turns);
    }
    __syncthreads();
    first = last;
  }
}

// The sum of a chunk's numbers, in thread 0: 16 interleaved sums in fp32, then those in fp64. The block's threads have
// met since the numbers were written.
__device__ double sum_lanes(Chunk& chunk) {
  float sum = 0;
  if (threadIdx.x < lanes) {
#pragma unroll 16
    for (uint32_t i = threadIdx.x; i < chunk_entries; i += lanes) sum = __fadd_rn(sum, chunk[i]);
  }
  double total = 0;
  if (threadIdx.x < 32) {
    for (uint32_t lane = 0; lane < lanes; ++lane) {
      total = __dadd_rn(total, static_cast<double>(__shfl_sync(0xffffffff, sum, lane)));
    }
  }
  return total;
}

__device__ float warp_max(float x) {
  for (int distance = 16; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, distance));
  return x;
}

// One block a chunk.
__global__ void __launch_bounds__(block_threads)
    chunk_sums_kernel(const float* logits, Rows at, float* maxima, double* sums) {
  __shared__ Chunk chunk;
  __shared__ float warp_maxima[warps];
  const PolicyRow row = at.rows[blockIdx.y];
  load(chunk, logits + size_t{row.row} * at.vocab, blockIdx.x, at.vocab, row, at.edits);
  float max = -infinity;
#pragma unroll
  for (uint32_t i = threadIdx.x; i < chunk_entries; i += block_threads) {
    const float x = chunk[i];
    if (x > max && x < infinity) max = x;
  }
  max = warp_max(max);
  if (threadIdx.x % 32 == 0) warp_maxima[threadIdx.x / 32] = max;
  __syncthreads();
  for (uint32_t warp = 0; warp < warps; ++warp) max = fmaxf(max, warp_maxima[warp]);
  const bool summed = row.which != PolicyRow::Token::largest && max != -infinity;
  if (summed) {
#pragma unroll
    for (uint32_t i = threadIdx.x; i < chunk_entries; i += block_threads) {
      chunk[i] = weight(chunk[i], max, row.scale);
    }
  }
  __syncthreads();
  const double sum = summed ? sum_lanes(chunk) : 0;
  if (threadIdx.x > 0) return;
  const size_t out = size_t{blockIdx.y} * gridDim.x + blockIdx.x;
  maxima[out] = max;
  sums[out] = sum;
}

// What the chunks of a row come to.
struct Merged {
  float max;
  double total;
  // Where the token is looked for: the chunk, and what its weights' sum has to exceed, in units of the chunk's maximum.
  uint32_t chunk;
  double target;
};

// In thread 0; `masses` [chunks] holds each chunk's sum in units of the row's maximum.
__device__ void merge(const PolicyRow& row, const float* maxima, const double* masses, uint32_t chunks, Merged& out) {
  out.chunk = 0;
  if (row.which == PolicyRow::Token::largest) {
    while (maxima[out.chunk] != out.max) ++out.chunk;
    return;
  }
  for (uint32_t c = 0; c < chunks; ++c) out.total = __dadd_rn(out.total, masses[c]);
  if (row.which != PolicyRow::Token::drawn) return;
  const double target = __dmul_rn(row.uniform, out.total);
  double before = 0, sum = 0;
  for (uint32_t c = 0; c < chunks && sum <= target; ++c) {
    if (masses[c] == 0) continue;
    out.chunk = c;
    before = sum;
    sum = __dadd_rn(sum, masses[c]);
  }
  const float unit = weight(maxima[out.chunk], out.max, row.scale);
  out.target = (target - before) / static_cast<double>(unit);
}

// The entry at which the running sum of the chunk's weights exceeds `target`; the last of any weight where none does.
__device__ void find_drawn(Chunk& chunk, double target, double* ends, uint32_t& found) {
  const uint32_t begin = threadIdx.x * piece;
  double sum = 0;
#pragma unroll
  for (uint32_t i = begin; i < begin + piece; ++i) sum = __dadd_rn(sum, static_cast<double>(chunk[i]));
  ends[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    double before = 0, start = 0;
    uint32_t at = 0;  // the piece that crosses the target, or the last of any weight
    for (uint32_t t = 0; t < block_threads && before <= target; ++t) {
      if (ends[t] == 0) continue;
      at = t;
      start = before;
      before = __dadd_rn(before, ends[t]);
    }
    for (uint32_t i = at * piece; i < (at + 1) * piece && start <= target; ++i) {
      if (chunk[i] == 0) continue;
      found = i;
      start = __dadd_rn(start, static_cast<double>(chunk[i]));
    }
  }
  __syncthreads();
}

// One block a row; masses: [chunks] in dynamic shared memory.
__global__ void __launch_bounds__(block_threads)
    values_kernel(const float* logits, Rows at, uint32_t chunks, const float* maxima, const double* sums,
                  PolicyValue* out) {
  extern __shared__ double masses[];
  __shared__ Chunk chunk;
  __shared__ double ends[block_threads];
  __shared__ Merged merged;
  __shared__ uint32_t found;
  const PolicyRow row = at.rows[blockIdx.x];
  const float* const numbers = logits + size_t{row.row} * at.vocab;
  maxima += size_t{blockIdx.x} * chunks;
  sums += size_t{blockIdx.x} * chunks;

  if (threadIdx.x < 32) {
    float max = -infinity;
    for (uint32_t c = threadIdx.x; c < chunks; c += 32) max = fmaxf(max, maxima[c]);
    max = warp_max(max);
    if (threadIdx.x == 0) merged = {max, 0, 0, 0};
  }
  if (threadIdx.x == 0) found = chunk_entries;
  __syncthreads();
  const float max = merged.max;
  for (uint32_t c = threadIdx.x; c < chunks; c += block_threads) {
    masses[c] = __dmul_rn(sums[c], static_cast<double>(weight(maxima[c], max, row.scale)));
  }
  __syncthreads();
  if (threadIdx.x == 0 && max != -infinity) merge(row, maxima, masses, chunks, merged);
  __syncthreads();
  if (max == -infinity) {
    if (threadIdx.x == 0) out[blockIdx.x] = {row.token, max, max, 0};
    return;
  }
  const bool given = row.which == PolicyRow::Token::given;
  const uint32_t chosen = given ? static_cast<uint32_t>(row.token) / chunk_entries : merged.chunk;
  load(chunk, numbers, chosen, at.vocab, row, at.edits);
  if (given) {
    if (threadIdx.x == 0) found = static_cast<uint32_t>(row.token) % chunk_entries;
  } else if (row.which == PolicyRow::Token::largest) {
    for (uint32_t i = threadIdx.x; i < chunk_entries; i += block_threads) {
      if (chunk[i] == max) atomicMin(&found, i);
    }
  } else {
    const float unit = maxima[chosen];
#pragma unroll
    for (uint32_t i = threadIdx.x; i < chunk_entries; i += block_threads) {
      chunk[i] = weight(chunk[i], unit, row.scale);
    }
    __syncthreads();
    find_drawn(chunk, merged.target, ends, found);
    load(chunk, numbers, chosen, at.vocab, row, at.edits);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    const auto token = static_cast<int32_t>(chosen * chunk_entries + found);
    out[blockIdx.x] = {token, chunk[found], max, merged.total};
  }
}

// One thread a pick.
__global__ void __launch_bounds__(block_threads)
    gather_kernel(const float* logits, Rows at, const LogitPick* picks, uint32_t count, float* out) {
  const uint32_t i = blockIdx.x * block_threads + threadIdx.x;
  if (i >= count) return;
  const LogitPick pick = picks[i];
  const PolicyRow& row = at.rows[pick.row];
  float x = logits[size_t{row.row} * at.vocab + static_cast<uint32_t>(pick.token)];
  uint32_t e = row.edits_begin;
  for (uint32_t turn = 0; turn < edit_turns; ++turn) {
    for (const uint32_t last = row.edits_end[turn]; e < last; ++e) {
      if (at.edits[e].token == pick.token) x = edited(x, at.edits[e].value, turn < multiplying_turns);
    }
  }
  out[i] = x;
}

// One block a chunk.
__global__ void __launch_bounds__(block_threads)
    group_maxima_kernel(const float* logits, Rows at, uint32_t groups, float* maxima) {
  __shared__ Chunk chunk;
  constexpr uint32_t chunk_groups = chunk_entries / group_entries;
  const PolicyRow row = at.rows[blockIdx.y];
  load(chunk, logits + size_t{row.row} * at.vocab, blockIdx.x, at.vocab, row, at.edits);
  const uint32_t lane = threadIdx.x % 32;
  for (uint32_t g = threadIdx.x / 32; g < chunk_groups; g += warps) {
    float max = -infinity;
    for (uint32_t i = lane; i < group_entries; i += 32) {
      const float x = chunk[g * group_entries + i];
      if (x > max && x < infinity) max = x;
    }
    max = warp_max(max);
    const uint32_t group = blockIdx.x * chunk_groups + g;
    if (lane == 0 && group < groups) maxima[size_t{blockIdx.y} * groups + group] = max;
  }
}

// Of a thread's piece of the chunk.
__device__ uint32_t count_reached(Chunk& chunk, float threshold) {
  uint32_t count = 0;
#pragma unroll
  for (uint32_t i = threadIdx.x * piece; i < (threadIdx.x + 1) * piece; ++i) {
    count += chunk[i] >= threshold && chunk[i] < infinity;
  }
  return count;
}

// The sum of the numbers of the threads before this one, and in `total` that of all. All threads of the block call it.
__device__ uint32_t sum_before(uint32_t number, uint32_t& total) {
  __shared__ uint32_t warp_totals[warps];
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint32_t upto = number;
  for (uint32_t distance = 1; distance < 32; distance *= 2) {
    const uint32_t other = __shfl_up_sync(0xffffffff, upto, distance);
    if (lane >= distance) upto += other;
  }
  if (lane == 31) warp_totals[warp] = upto;
  __syncthreads();
  uint32_t before = upto - number;
  total = 0;
  for (uint32_t w = 0; w < warps; ++w) {
    if (w < warp) before += warp_totals[w];
    total += warp_totals[w];
  }
  return before;
}

// One block a chunk.
__global__ void __launch_bounds__(block_threads)
    count_kernel(const float* logits, Rows at, const float* thresholds, uint32_t* counts) {
  __shared__ Chunk chunk;
  const PolicyRow row = at.rows[blockIdx.y];
  load(chunk, logits + size_t{row.row} * at.vocab, blockIdx.x, at.vocab, row, at.edits);
  uint32_t total;
  sum_before(count_reached(chunk, thresholds[blockIdx.y]), total);
  if (threadIdx.x == 0) counts[size_t{blockIdx.y} * gridDim.x + blockIdx.x] = total;
}

// One block a chunk, behind those before it.
__global__ void __launch_bounds__(block_threads)
    collect_kernel(const float* logits, Rows at, const float* thresholds, uint32_t most, const uint32_t* counts,
                   LogitEntry* entries) {
  __shared__ Chunk chunk;
  counts += size_t{blockIdx.y} * gridDim.x;
  uint32_t place = 0;
  for (uint32_t c = 0; c < blockIdx.x; ++c) place += counts[c];
  if (counts[blockIdx.x] == 0 || place >= most) return;
  const PolicyRow row = at.rows[blockIdx.y];
  load(chunk, logits + size_t{row.row} * at.vocab, blockIdx.x, at.vocab, row, at.edits);
  const float threshold = thresholds[blockIdx.y];
  uint32_t total;
  place += sum_before(count_reached(chunk, threshold), total);
  entries += size_t{blockIdx.y} * most;
  for (uint32_t i = threadIdx.x * piece; i < (threadIdx.x + 1) * piece; ++i) {
    if (!(chunk[i] >= threshold && chunk[i] < infinity)) continue;
    if (place < most) entries[place] = {static_cast<int32_t>(blockIdx.x * chunk_entries + i), chunk[i]};
    ++place;
  }
}

// One block a chunk.
__global__ void __launch_bounds__(block_threads)
    gradients_kernel(float* logits, Rows at, const PolicyValue* values, const PolicySlope* slopes, bool replace,
                     double* distances) {
  __shared__ Chunk chunk;
  const PolicyRow row = at.rows[blockIdx.y];
  const PolicySlope slope = slopes[blockIdx.y];
  float* const numbers = logits + size_t{row.row} * at.vocab;
  const uint32_t begin = blockIdx.x * chunk_entries, count = min(chunk_entries, at.vocab - begin);
  const size_t out = size_t{blockIdx.y} * gridDim.x + blockIdx.x;
  if (!slope.wanted) {
    for (uint32_t i = threadIdx.x; replace && i < count; i += block_threads) numbers[begin + i] = 0;
    if (threadIdx.x == 0) distances[out] = 0;
    return;
  }
  const float max = values[blockIdx.y].max;
  const uint32_t target = static_cast<uint32_t>(values[blockIdx.y].token) - begin;
  load(chunk, numbers, blockIdx.x, at.vocab, row, at.edits);
#pragma unroll 4
  for (uint32_t i = threadIdx.x; i < chunk_entries; i += block_threads) {
    const float distance = __fsub_rn(chunk[i], max);
    const float e = exp_nonpositive(__fmul_rn(distance, row.scale));
    if (replace && i < count) {
      const float g = __fmul_rn(slope.factor, e);
      numbers[begin + i] = i == target ? __fadd_rn(g, slope.slope) : g;
    }
    chunk[i] = e > 0 ? __fmul_rn(e, distance) : 0.0f;  // 0 times infinity counts as 0
  }
  __syncthreads();
  const double sum = sum_lanes(chunk);
  if (threadIdx.x == 0) distances[out] = sum;
}

}  // namespace

void chunk_sums(cudaStream_t stream, const float* logits, const Rows& at, float* maxima, double* sums) {
  chunk_sums_kernel<<<dim3(chunks_of(at.vocab), at.count), block_threads, 0, stream>>>(logits, at, maxima, sums);
  NPR_LAUNCHED(chunk_sums_kernel);
}

void values(cudaStream_t stream, const float* logits, const Rows& at, const float* maxima, const double* sums,
            PolicyValue* out) {
  const uint32_t chunks = chunks_of(at.vocab);
  values_kernel<<<at.count, block_threads, chunks * sizeof(double), stream>>>(logits, at, chunks, maxima, sums, out);
  NPR_LAUNCHED(values_kernel);
}

void group_maxima(cudaStream_t stream, const float* logits, const Rows& at, float* maxima) {
  group_maxima_kernel<<<dim3(chunks_of(at.vocab), at.count), block_threads, 0, stream>>>(logits, at,
                                                                                         groups_of(at.vocab), maxima);
  NPR_LAUNCHED(group_maxima_kernel);
}

void collect(cudaStream_t stream, const float* logits, const Rows& at, const float* thresholds, uint32_t most,
             uint32_t* counts, LogitEntry* entries) {
  const dim3 blocks(chunks_of(at.vocab), at.count);
  count_kernel<<<blocks, block_threads, 0, stream>>>(logits, at, thresholds, counts);
  NPR_LAUNCHED(count_kernel);
  collect_kernel<<<blocks, block_threads, 0, stream>>>(logits, at, thresholds, most, counts, entries);
  NPR_LAUNCHED(collect_kernel);
}

void gather(cudaStream_t stream, const float* logits, const Rows& at, const LogitPick* picks, uint32_t count,
            float* out) {
  gather_kernel<<<(count + block_threads - 1) / block_threads, block_threads, 0, stream>>>(logits, at, picks, count,
                                                                                           out);
  NPR_LAUNCHED(gather_kernel);
}

void gradients(cudaStream_t stream, float* logits, const Rows& at, const PolicyValue* values, const PolicySlope* slopes,
               bool replace, double* distances) {
  gradients_kernel<<<dim3(chunks_of(at.vocab), at.count), block_threads, 0, stream>>>(logits, at, values, slopes,
                                                                                      replace, distances);
  NPR_LAUNCHED(gradients_kernel);
}

}  // namespace npr::compute::softmax
