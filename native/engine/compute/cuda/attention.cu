#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "compute/cuda/attention.h"
#include "compute/cuda/attention_kernel.cuh"
#include "compute/cuda/attention_merge.cuh"
#include "compute/cuda/attention_plan.h"
#include "compute/cuda/cuda_check.h"
#include "compute/cuda/cuda_launch.h"
#include "compute/cuda/cuda_memory.h"
#include "compute/cuda/gemm_ptx.cuh"
#include "compute/cuda/staging.h"
#include "compute/cuda/tensor_map.h"
#include "error.h"

namespace npr::compute {
namespace {

constexpr size_t most_partial_bytes = size_t{256} << 20;  // before items get longer instead
constexpr uint32_t expand_slots = 1024;                   // of a block
constexpr uint32_t merge_threads = 128;

// An item is a block's, with each KV head. Blocks take items there and back again, long ones first.
template <class S>
__global__ void __launch_bounds__(S::threads, S::blocks)
    attend(const __grid_constant__ AttentionArguments a, const __grid_constant__ AttentionKeyMaps maps) {
  extern __shared__ __align__(1024) uint8_t memory[];
  ptx::launch_dependents();
  bool waited = false;
  AttentionChunks<S> chunks{a, maps, shared_address(memory)};
  chunks.begin();
  chunks.item = a.plan->item(blockIdx.x / a.kv_heads);  // if there are so many: both ways to it at once
  const uint32_t tasks = a.plan->items * a.kv_heads;
  for (uint32_t round = 0; round * gridDim.x < tasks; ++round) {
    const uint32_t task = round * gridDim.x + (round % 2 ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
    if (task >= tasks) continue;
    if (round > 0) chunks.item = a.plan->item(task / a.kv_heads);
    chunks.head = task % a.kv_heads;
    AttentionItemRun<S>{.a = a, .chunks = chunks, .memory = memory}.run(waited);
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

struct Attend {
  void (*kernel)(AttentionArguments, AttentionKeyMaps);
  uint32_t threads, memory, vectors;
};

template <class S>
Attend attend_of() {
  return {attend<S>, S::threads, S::bytes, S::vectors};
}

struct Kernels {
  Attend narrow, wide;
  void (*merge)(AttentionArguments);
  uint32_t D;
};

template <int D>
Kernels kernels() {
  return {attend_of<AttentionShape<D, 1>>(), attend_of<AttentionShape<D, D == 256 ? 1 : 2>>(), merge_all<D>, D};
}

Kernels kernels_for(uint32_t head_dim) {
  if (head_dim <= 64) return kernels<64>();
  return head_dim <= 128 ? kernels<128>() : kernels<256>();
}

// Prompts, rather than branches one token each: long enough for wide blocks to have no lack of work.
bool prompts(std::span<const Sequence> sequences) {
  size_t rows = 0;
  for (const Sequence& s : sequences) rows += s.rows;
  return rows > 256 && rows >= 32 * sequences.size();
}

}  // namespace

struct CudaAttention::State {
  cudaStream_t stream;
  const CudaKvPool& pool;
  const uint32_t q_heads;
  const Kernels kernels;
  uint32_t narrow_blocks = 0, wide_blocks = 0;  // that run at once; 0: the device lacks memory for one
  const Attend* attend = &kernels.narrow;       // of the batch
  uint32_t blocks = 0;
  CudaAttentionPlan plan;
  Staging staging;
  DeviceArray device_plan, slots, partial_outs, partial_sums;
  std::vector<AttentionKeyMaps> maps;  // [layers]
  uint64_t generation = 0;             // counts moves of these arrays

  State(cudaStream_t stream, const CudaKvPool& pool, uint32_t q_heads)
      : stream(stream), pool(pool), q_heads(q_heads), kernels(kernels_for(pool.shape().head_dim)), staging(stream) {}

  uint32_t group() const { return q_heads / pool.shape().kv_heads; }

  void reserve(DeviceArray& array, size_t bytes, const char* what) {
    if (bytes <= array.bytes()) return;
    ++generation;
    array = DeviceArray();
    array = DeviceArray(std::max(bytes + bytes / 2, size_t{1} << 20), what);  // seldom: each time graphs are made anew
  }
};

CudaAttention::CudaAttention(cudaStream_t stream, const CudaKvPool& pool, uint32_t q_heads) {
  const KvShape& shape = pool.shape();
  ensure(shape.head_dim % 16 == 0 && shape.head_dim <= 256 && q_heads % shape.kv_heads == 0,
         "heads have a multiple of 16 dimensions, 256 at most, and KV heads divide query heads");
  State& s = *(state_ = std::make_unique<State>(stream, pool, q_heads));
  static_assert(most_group <= AttentionShape<256, 1>::vectors);
  ensure(s.group() <= most_group, "query heads of a KV head fit one block");
  int device = 0, processors = 0, most_memory = 0;
  NPR_CUDA(cudaGetDevice(&device));
  NPR_CUDA(cudaDeviceGetAttribute(&most_memory, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  NPR_CUDA(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  const auto allow = [&](const Attend& x) {
    if (x.memory > static_cast<uint32_t>(most_memory)) return 0u;
    NPR_CUDA(cudaFuncSetAttribute(x.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(x.memory)));
    NPR_CUDA(
        cudaFuncSetAttribute(x.kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared));
    int resident = 0;
    NPR_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, x.kernel, x.threads, x.memory));
    return static_cast<uint32_t>(processors * resident);
  };
  s.narrow_blocks = allow(s.kernels.narrow);
  s.wide_blocks = allow(s.kernels.wide);
  ensure(s.narrow_blocks > 0, "a multiprocessor holds a block of attention");
  int major = 0;
  NPR_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  s.maps.resize(shape.layers);
  for (uint32_t layer = 0; layer < shape.layers && major >= 9; ++layer) {
    const auto map = [&](const bf16* x) {
      return tensor_map(x, shape.head_dim, uint64_t{shape.kv_heads} * pool.slots(), shape.head_dim, 64);
    };
    s.maps[layer] = {map(pool.keys(layer)), map(pool.values(layer))};
  }
}

CudaAttention::~CudaAttention() = default;

void CudaAttention::begin(std::span<const Sequence> sequences) {
  State& s = *state_;
  const size_t vector_bytes = s.kernels.D * sizeof(float), row_bytes = s.q_heads * (vector_bytes + sizeof(UnitSum));
  const bool wide = s.wide_blocks > 0 && prompts(sequences);
  s.attend = wide ? &s.kernels.wide : &s.kernels.narrow;
  s.blocks = wide ? s.wide_blocks : s.narrow_blocks;
  s.plan.make(sequences, {.item_rows = s.attend->vectors / s.group(),
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
  // Blocks look at an item before they know whether it is theirs.
  s.reserve(s.device_plan,
            std::max(bytes, sizeof header + std::max(s.narrow_blocks, s.wide_blocks) * sizeof(AttentionItem)),
            "attention");
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

uint64_t CudaAttention::signature() const {
  return 4 * state_->generation + 2 * (state_->attend == &state_->kernels.wide) + !state_->plan.merges().empty();
}

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
  launch_overlapping(s.attend->kernel, s.blocks, s.attend->threads, s.attend->memory, s.stream, arguments,
                     s.maps[layer]);
  if (s.plan.merges().empty()) return;
  launch_overlapping(s.kernels.merge, s.blocks, merge_threads, 0, s.stream, arguments);
}

}  // namespace npr::compute
