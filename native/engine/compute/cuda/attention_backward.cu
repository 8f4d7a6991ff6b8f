#include <algorithm>
#include <cmath>

#include "compute/cuda/attention_backward.h"
#include "compute/cuda/attention_backward_kernel.cuh"
#include "compute/cuda/attention_backward_plan.h"
#include "compute/cuda/cuda_check.h"
#include "compute/cuda/cuda_memory.h"
#include "compute/cuda/parcel.h"
#include "compute/cuda/staging.h"
#include "error.h"

namespace npr::compute {
namespace {

// masks [pairs][64 queries]: which of the pair's 64 keys a query sees. A block a pair, a thread a query.
__global__ void __launch_bounds__(tile_rows)
    make_masks(const TilePair* pairs, const QueryRow* rows, const KeyRun* runs, uint32_t row_count, uint64_t* masks) {
  const TilePair pair = pairs[blockIdx.x];
  const uint32_t row = pair.query * tile_rows + threadIdx.x, base = pair.key * tile_rows;
  uint64_t mask = 0;
  if (row < row_count) {
    const QueryRow query = rows[row];
    for (uint32_t r = query.first_run; r < query.first_run + query.runs; ++r) {
      const KeyRun run = runs[r];
      if (query.visible <= run.start) break;  // runs are in order of the path
      const uint32_t first = max(run.row, base);
      const uint32_t end = min(run.row + min(run.count, query.visible - run.start), base + tile_rows);
      if (first < end) mask |= (~uint64_t{0} >> (tile_rows - (end - first))) << (first - base);
    }
  }
  masks[size_t{blockIdx.x} * tile_rows + threadIdx.x] = mask;
}

// Rounds g [rows, q_heads, head_dim] to bf16 and tells of every query what the kernels need; of rows up to a whole tile
// zeros. A warp a row and head.
__global__ void prepare(const float* g, const uint16_t* out, const float* log_sums, uint32_t rows, uint32_t padded_rows,
                        uint32_t q_heads, uint32_t head_dim, uint16_t* rounded, float2* known) {
  const uint32_t warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  const uint32_t row = warp / q_heads, head = warp % q_heads;
  if (row >= padded_rows) return;
  float2 about{0.0f, 0.0f};
  if (row < rows) {
    const size_t at = size_t{row} * q_heads + head;
    float delta = 0;
    for (uint32_t e = 2 * lane; e < head_dim; e += 64) {
      const float2 pair = *reinterpret_cast<const float2*>(g + at * head_dim + e);
      const uint32_t outs = *reinterpret_cast<const uint32_t*>(out + at * head_dim + e);
      *reinterpret_cast<uint32_t*>(rounded + at * head_dim + e) = round_pair(pair.x, pair.y);
      delta = __fmaf_rn(pair.x, low_of(outs), delta);
      delta = __fmaf_rn(pair.y, high_of(outs), delta);
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) delta += __shfl_xor_sync(all_lanes, delta, distance);
    about = {log_sums[at] * 1.44269504088896f, delta};
  }
  if (lane == 0) known[size_t{head} * padded_rows + row] = about;
}

// Blocks: x a tile, y a KV head.
template <int D>
__global__ void __launch_bounds__(KeyGradient<D>::threads, D == 256 ? 1 : 2)
    key_gradients(AttentionBackwardArguments a) {
  extern __shared__ __align__(128) uint8_t memory[];
  KeyGradient<D>::run(a, a.key_tiles[blockIdx.x], blockIdx.y, memory);
}

// Blocks: x a tile, y a query head.
template <int D>
__global__ void __launch_bounds__(QueryGradient<D>::threads, D == 256 ? 1 : 2)
    query_gradients(AttentionBackwardArguments a) {
  extern __shared__ __align__(128) uint8_t memory[];
  QueryGradient<D>::run(a, a.query_tiles[blockIdx.x], blockIdx.y, memory);
}

struct Kernels {
  void (*keys)(AttentionBackwardArguments);
  uint32_t keys_threads, keys_memory;
  void (*queries)(AttentionBackwardArguments);
  uint32_t queries_threads, queries_memory;
};

template <int D>
Kernels kernels() {
  return {key_gradients<D>,   KeyGradient<D>::threads,   KeyGradient<D>::bytes,
          query_gradients<D>, QueryGradient<D>::threads, QueryGradient<D>::bytes};
}

Kernels kernels_for(uint32_t head_dim) {
  if (head_dim <= 64) return kernels<64>();
  return head_dim <= 128 ? kernels<128>() : kernels<256>();
}

}  // namespace

struct CudaAttentionBackward::State {
  cudaStream_t stream;
  const CudaKvPool& pool;
  const uint32_t q_heads;
  const Kernels kernels;
  AttentionBackwardPlan plan;
  Staging staging;
  DeviceArray device_plan, masks, rounded, known;
  AttentionBackwardArguments arguments{};

  State(cudaStream_t stream, const CudaKvPool& pool, uint32_t q_heads)
      : stream(stream), pool(pool), q_heads(q_heads), kernels(kernels_for(pool.shape().head_dim)), staging(stream) {}
};

CudaAttentionBackward::CudaAttentionBackward(cudaStream_t stream, const CudaKvPool& pool, uint32_t q_heads)
    : state_(std::make_unique<State>(stream, pool, q_heads)) {
  const auto allow = [](void (*kernel)(AttentionBackwardArguments), uint32_t memory) {
    NPR_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(memory)));
    NPR_CUDA(
        cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared));
  };
  allow(state_->kernels.keys, state_->kernels.keys_memory);
  allow(state_->kernels.queries, state_->kernels.queries_memory);
}

CudaAttentionBackward::~CudaAttentionBackward() = default;

void CudaAttentionBackward::begin(std::span<const Slot> slots, std::span<const Sequence> sequences) {
  State& s = *state_;
  s.plan.make(slots, sequences);
  const AttentionBackwardPlan& plan = s.plan;
  Parcel parcel;
  const size_t slots_at = parcel.add(slots), runs_at = parcel.add(plan.runs()), rows_at = parcel.add(plan.rows()),
               masked_at = parcel.add(plan.masked()), by_query_at = parcel.add(plan.by_query()),
               by_key_at = parcel.add(plan.by_key()), queries_at = parcel.add(plan.queries()),
               keys_at = parcel.add(plan.keys());
  const auto rows = static_cast<uint32_t>(slots.size());
  AttentionBackwardArguments& a = s.arguments;
  a = {};
  a.rows = rows;
  a.pool_slots = s.pool.slots();
  a.kv_heads = s.pool.shape().kv_heads;
  a.group = s.q_heads / a.kv_heads;
  a.head_dim = s.pool.shape().head_dim;
  a.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(a.head_dim)));
  if (rows == 0) return;
  const size_t tiles = (rows + tile_rows - 1) / tile_rows;
  s.masks.reserve(plan.masked().size() * tile_rows * sizeof(uint64_t), "gradients of attention");
  s.rounded.reserve(size_t{rows} * s.q_heads * a.head_dim * sizeof(bf16), "gradients of attention");
  s.known.reserve(tiles * tile_rows * s.q_heads * sizeof(float2), "gradients of attention");

  const std::byte* const device = parcel.send(s.staging, s.device_plan, "gradients of attention");
  a.slots = reinterpret_cast<const Slot*>(device + slots_at);
  a.by_query = reinterpret_cast<const TilePair*>(device + by_query_at);
  a.by_key = reinterpret_cast<const TilePair*>(device + by_key_at);
  a.query_tiles = reinterpret_cast<const TilePairs*>(device + queries_at);
  a.key_tiles = reinterpret_cast<const TilePairs*>(device + keys_at);
  a.masks = s.masks.as<uint64_t>();
  a.g = s.rounded.as<uint16_t>();
  a.known = s.known.as<float2>();
  if (plan.masked().empty()) return;
  make_masks<<<static_cast<uint32_t>(plan.masked().size()), tile_rows, 0, s.stream>>>(
      reinterpret_cast<const TilePair*>(device + masked_at), reinterpret_cast<const QueryRow*>(device + rows_at),
      reinterpret_cast<const KeyRun*>(device + runs_at), rows, s.masks.as<uint64_t>());
  NPR_LAUNCHED(make_masks);
}

void CudaAttentionBackward::run(uint32_t layer, const bf16* q, const bf16* out, const float* log_sums, const float* g,
                                float* d_rotated) {
  const State& s = *state_;
  AttentionBackwardArguments a = s.arguments;
  if (a.rows == 0) return;
  a.keys = s.pool.keys(layer);
  a.values = s.pool.values(layer);
  a.q = q;
  a.d_rotated = d_rotated;
  const uint32_t tiles = (a.rows + tile_rows - 1) / tile_rows, padded_rows = tiles * tile_rows;
  const uint32_t warps = padded_rows * s.q_heads;  // a multiple of a block's eight: tiles have 64 rows
  prepare<<<warps / 8, 256, 0, s.stream>>>(g, out, log_sums, a.rows, padded_rows, s.q_heads, a.head_dim,
                                           s.rounded.as<uint16_t>(), s.known.as<float2>());
  NPR_LAUNCHED(prepare);
  const Kernels& k = s.kernels;
  k.keys<<<dim3(tiles, a.kv_heads), k.keys_threads, k.keys_memory, s.stream>>>(a);
  NPR_LAUNCHED(key_gradients);
  k.queries<<<dim3(tiles, s.q_heads), k.queries_threads, k.queries_memory, s.stream>>>(a);
  NPR_LAUNCHED(query_gradients);
}

}  // namespace npr::compute
