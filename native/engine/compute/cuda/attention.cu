#include <algorithm>
#include <cmath>
#include <cstring>

#include "compute/cuda/attention.h"
#include "compute/cuda/attention_kernel.cuh"
#include "compute/cuda/attention_merge.cuh"
#include "compute/cuda/attention_plan.h"
#include "compute/cuda/cuda_check.h"
#include "compute/cuda/cuda_launch.h"
#include "compute/cuda/cuda_memory.h"
#include "compute/cuda/gemm_ptx.cuh"
#include "compute/cuda/staging.h"
#include "error.h"

namespace npr::compute {
namespace {

constexpr size_t most_partial_bytes = size_t{256} << 20;  // before items get longer instead
constexpr uint32_t expand_slots = 1024;                   // of a block
constexpr uint32_t merge_threads = 128;

// An item is a block's, with each KV head. Blocks take items there and back again, long ones first.
template <int D>
__global__ void __launch_bounds__(AttentionShape<D>::threads, D == 256 ? 1 : 2)
    attend(const __grid_constant__ AttentionArguments a) {
  extern __shared__ __align__(1024) uint8_t memory[];
  ptx::launch_dependents();
  const AttentionHeader header = *a.plan;
  const uint32_t tasks = header.items * a.kv_heads;
  bool waited = false;
  for (uint32_t round = 0; round * gridDim.x < tasks; ++round) {
    const uint32_t task = round * gridDim.x + (round % 2 ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
    if (task >= tasks) continue;
    const AttentionItem item = a.plan->item(task / a.kv_heads);
    AttentionItemRun<AttentionShape<D>>{a, item, task % a.kv_heads, memory}.run(waited);
  }
  if (!waited) ptx::wait_for_dependencies();
}

// Warps of all blocks in turn, so that few parts are spread over the device.
template <int D>
__global__ void __launch_bounds__(merge_threads) merge_all(const __grid_constant__ AttentionArguments a) {
  ptx::launch_dependents();
  const AttentionHeader header = *a.plan;
  const uint32_t of_merge = a.kv_heads * a.group * (D / 64), parts = header.merges * of_merge;
  const AttentionMerge* const merges = a.plan->array<AttentionMerge>(header.merges_at);
  bool waited = false;
  for (uint32_t part = threadIdx.x / 32 * gridDim.x + blockIdx.x; part < parts;
       part += merge_threads / 32 * gridDim.x) {
    const AttentionMerge merge = merges[part / of_merge];
    if (!waited) ptx::wait_for_dependencies();
    waited = true;
    merge_partials<D>(a, merge, part % of_merge);
  }
  if (!waited) ptx::wait_for_dependencies();
}

// Writes out the slots of path blockIdx.x, its keys [blockIdx.y * expand_slots, + expand_slots).
__global__ void expand(const AttentionHeader* plan, Slot* slots) {
  const AttentionPath path = plan->array<AttentionPath>(plan->paths_at)[blockIdx.x];
  const AttentionRun* runs = plan->array<AttentionRun>(plan->runs_at) + path.first_run;
  const uint32_t end = min(path.length, (blockIdx.y + 1) * expand_slots);
  for (uint32_t key = blockIdx.y * expand_slots + threadIdx.x; key < end; key += blockDim.x) {
    uint32_t low = 0, high = path.runs;  // the last run that starts at or before the key is in [low, high)
    while (high - low > 1) {
      const uint32_t middle = (low + high) / 2;
      (runs[middle].start <= key ? low : high) = middle;
    }
    slots[path.slots + key] = runs[low].slot + (key - runs[low].start);
  }
}

struct Kernels {
  void (*attend)(AttentionArguments);
  void (*merge)(AttentionArguments);
  uint32_t D, threads, memory;
};

template <int D>
Kernels kernels() {
  return {attend<D>, merge_all<D>, D, AttentionShape<D>::threads, AttentionShape<D>::bytes};
}

Kernels kernels_for(uint32_t head_dim) {
  if (head_dim <= 64) return kernels<64>();
  return head_dim <= 128 ? kernels<128>() : kernels<256>();
}

}  // namespace

struct CudaAttention::State {
  cudaStream_t stream;
  const CudaKvPool& pool;
  const uint32_t q_heads;
  const Kernels kernels;
  uint32_t blocks = 0;  // that run at once
  CudaAttentionPlan plan;
  Staging staging;
  DeviceArray device_plan, slots, partial_outs, partial_sums;
  uint64_t generation = 0;  // counts moves of these arrays

  State(cudaStream_t stream, const CudaKvPool& pool, uint32_t q_heads)
      : stream(stream), pool(pool), q_heads(q_heads), kernels(kernels_for(pool.shape().head_dim)), staging(stream) {}

  uint32_t group() const { return q_heads / pool.shape().kv_heads; }

  void reserve(DeviceArray& array, size_t bytes, const char* what) {
    if (bytes <= array.bytes()) return;
    ++generation;  // also where there is no memory: the old one is gone
    array.reserve(std::max(bytes + bytes / 2, size_t{1} << 20), what);  // seldom: each time graphs are made anew
  }
};

CudaAttention::CudaAttention(cudaStream_t stream, const CudaKvPool& pool, uint32_t q_heads) {
  const KvShape& shape = pool.shape();
  ensure(shape.head_dim % 16 == 0 && shape.head_dim <= 256 && q_heads % shape.kv_heads == 0,
         "heads have a multiple of 16 dimensions, 256 at most, and KV heads divide query heads");
  State& s = *(state_ = std::make_unique<State>(stream, pool, q_heads));
  static_assert(most_group <= attention_vectors);
  ensure(s.group() <= most_group, "query heads of a KV head fit one block");
  const Kernels& kernels = s.kernels;
  NPR_CUDA(cudaFuncSetAttribute(kernels.attend, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                static_cast<int>(kernels.memory)));
  NPR_CUDA(cudaFuncSetAttribute(kernels.attend, cudaFuncAttributePreferredSharedMemoryCarveout,
                                cudaSharedmemCarveoutMaxShared));
  int device = 0, processors = 0, resident = 0;
  NPR_CUDA(cudaGetDevice(&device));
  NPR_CUDA(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  NPR_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernels.attend, kernels.threads, kernels.memory));
  ensure(resident > 0, "a multiprocessor holds a block of attention");
  s.blocks = static_cast<uint32_t>(processors * resident);
}

CudaAttention::~CudaAttention() = default;

void CudaAttention::begin(std::span<const Sequence> sequences) {
  State& s = *state_;
  const size_t vector_bytes = s.kernels.D * sizeof(float), row_bytes = s.q_heads * (vector_bytes + sizeof(UnitSum));
  s.plan.make(sequences, {.item_rows = attention_vectors / s.group(),
                          .kv_heads = s.pool.shape().kv_heads,
                          .blocks = s.blocks,
                          .partials = static_cast<uint32_t>(most_partial_bytes / row_bytes)});
  const CudaAttentionPlan& plan = s.plan;
  const size_t items_bytes = plan.items().size() * sizeof(AttentionItem);
  size_t bytes = sizeof(AttentionHeader) + items_bytes;
  const auto place = [&](const auto& array) {
    const size_t at = bytes;
    bytes += array.size() * sizeof(array[0]);
    return static_cast<uint32_t>(at);
  };
  const AttentionHeader header{.items = static_cast<uint32_t>(plan.items().size()),
                               .merges = static_cast<uint32_t>(plan.merges().size()),
                               .rows_at = place(plan.rows()),
                               .merges_at = place(plan.merges()),
                               .paths_at = place(plan.paths()),
                               .runs_at = place(plan.runs())};
  s.reserve(s.device_plan, bytes, "attention");
  if (plan.any_scattered()) s.reserve(s.slots, plan.slots() * sizeof(Slot), "attention");
  s.reserve(s.partial_outs, plan.partials() * size_t{s.q_heads} * vector_bytes, "attention");
  s.reserve(s.partial_sums, plan.partials() * size_t{s.q_heads} * sizeof(UnitSum), "attention");

  std::byte* const room = s.staging.room(bytes);
  const auto put = [&](uint32_t at, const auto& array) {
    if (!array.empty()) std::memcpy(room + at, array.data(), array.size() * sizeof(array[0]));
  };
  std::memcpy(room, &header, sizeof header);
  put(header.rows_at, plan.rows());
  put(sizeof header, plan.items());
  put(header.merges_at, plan.merges());
  put(header.paths_at, plan.paths());
  put(header.runs_at, plan.runs());
  s.staging.send(s.device_plan.as<void>(), bytes);

  if (!plan.any_scattered()) return;
  uint32_t longest = 0;
  for (const AttentionPath& path : plan.paths()) longest = std::max(longest, path.length);
  const dim3 grid(static_cast<uint32_t>(plan.paths().size()), (longest + expand_slots - 1) / expand_slots);
  expand<<<grid, 256, 0, s.stream>>>(s.device_plan.as<AttentionHeader>(), s.slots.as<Slot>());
  NPR_LAUNCHED(expand);
}

uint64_t CudaAttention::signature() const { return 2 * state_->generation + !state_->plan.merges().empty(); }

void CudaAttention::run(uint32_t layer, const bf16* q, bf16* out, float* log_sums) {
  const State& s = *state_;
  const KvShape& shape = s.pool.shape();
  const AttentionArguments arguments{
      .plan = s.device_plan.as<AttentionHeader>(),
      .slots = s.slots.as<Slot>(),
      .keys = s.pool.keys(layer),
      .values = s.pool.values(layer),
      .q = q,
      .out = out,
      .log_sums = log_sums,
      .partial_outs = s.partial_outs.as<float>(),
      .partial_sums = s.partial_sums.as<UnitSum>(),
      .pool_slots = s.pool.slots(),
      .kv_heads = shape.kv_heads,
      .group = s.group(),
      .head_dim = shape.head_dim,
      .scale = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(shape.head_dim)))};
  launch_overlapping(s.kernels.attend, s.blocks, s.kernels.threads, s.kernels.memory, s.stream, arguments);
  if (s.plan.merges().empty()) return;
  launch_overlapping(s.kernels.merge, s.blocks, merge_threads, 0, s.stream, arguments);
}

}  // namespace npr::compute
